// Interface of the core to its environment. browser.ts implements it for a browser, the tests without one.

import type { Answer, Request } from "./e2ee.ts";

export interface Socket {
  send(text: string): void;
  close(): void;
}

/** Callbacks of a socket. It makes no more calls after `closed` or `Socket.close`. */
export interface SocketEvents {
  opened(): void;
  received(data: unknown): void;
  closed(reason: string): void;
}

/** The server's answer about its readiness: an HTTP status and its text. */
export interface Readiness {
  status: number;
  text: string;
}

export interface Platform {
  connect(events: SocketEvents): Socket;
  /** Ask the server whether it is ready, because a failed WebSocket gives no reason; null: no answer. */
  readiness(): Promise<Readiness | null>;
  now(): number; // ms of Unix time, for display; it jumps when a user sets the clock
  monotonic(): number; // ms that only increase, for every duration
  setTimer(ms: number, call: () => void): () => void; // returns a function that cancels the timer
  random(): number; // from 0 to 1, as Math.random
  token(): string; // 128 random bits in 22 characters
  load(key: string): string; // the value stored in this browser, or ""
  save(key: string, value: string): void;
  /** Claim a name for this tab; false: another tab of this browser has it. */
  claim(name: string): Promise<boolean>;
  release(name: string): void; // release a claimed name
  /** Start the worker early: after an upgrade of the server its file may be gone. */
  startWorker(): void;
  callWorker(request: Request): Promise<Answer>; // the worker answers requests in their order
  readonly isSecure: boolean; // nobody can eavesdrop on the way to the server
}
