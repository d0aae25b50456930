// What the core needs of the world around it; browser.ts has it of a browser, the tests of none.

import type { Answer, Request } from "./e2ee.ts";

export interface Socket {
  send(text: string): void;
  close(): void;
}

/** What a socket calls. After `closed`, and after `Socket.close`, it calls nothing any more. */
export interface SocketEvents {
  opened(): void;
  received(data: unknown): void;
  closed(reason: string): void;
}

/** What the server says of itself: a status of HTTP, and its text. */
export interface Readiness {
  status: number;
  text: string;
}

export interface Platform {
  connect(events: SocketEvents): Socket;
  /** Ask the server whether it is ready, as nobody tells why a socket was refused; null: it does not answer. */
  readiness(): Promise<Readiness | null>;
  now(): number; // ms of Unix time, which jumps when somebody sets the clock: for what is shown
  monotonic(): number; // ms since some moment, which only go on: for everything that is a duration
  setTimer(ms: number, call: () => void): () => void; // returns what takes it back
  random(): number; // from 0 to 1, as Math.random
  token(): string; // 128 bits that nobody can guess, in 22 characters
  load(key: string): string; // what was kept in this browser, or ""
  save(key: string, value: string): void;
  /** Take a name for this tab alone among those of this browser; false: another one has it. */
  claim(name: string): Promise<boolean>;
  release(name: string): void; // a name that was claimed
  /** Have the worker, as one may need it: once the server is another version, its file may be gone. */
  startWorker(): void;
  callWorker(request: Request): Promise<Answer>; // by the worker, which answers in the order of the requests
  readonly isSecure: boolean; // nobody can listen on the way to the server
}
