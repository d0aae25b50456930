// A world without a browser: a clock that the test moves, sockets that are calls, storage in a map.

import { randomFillSync } from "node:crypto";
import type { Change } from "../src/core/api.ts";
import { Core } from "../src/core/chat.ts";
import { type Answer, EncryptionSessions, type Request, roomKey } from "../src/core/e2ee.ts";
import type { Platform, Readiness, Socket, SocketEvents } from "../src/core/platform.ts";

const derived = new Map<string, Uint8Array>();

/** The key of a room, which is made once for all the tests of a file. */
function derivedOnce(words: string, salt: Uint8Array): Uint8Array {
  const key = derived.get(`${words} ${salt}`) ?? roomKey(words, salt);
  derived.set(`${words} ${salt}`, key);
  return key;
}

/** One end of a connection, for who plays the server. */
export interface Peer {
  receive(text: string): void; // the client has sent this
  closed(): void; // the client has gone
}

export type Accept = (send: (message: unknown) => void, close: () => void) => Peer | null;

interface Line {
  isCut: boolean;
  cut(): void;
}

/** What the tabs of one browser share. */
export class Shared {
  readonly stored = new Map<string, string>();
  readonly claims = new Map<string, World>();
}

/** `accept` plays the server: null refuses the connection. */
export class World implements Platform {
  time = 1_000_000_000_000; // which only goes on
  shift = 0; // ms by which somebody has set the clock
  isSecure = true;
  dice = () => 0.5;
  readonly sealing = new EncryptionSessions((size) => randomFillSync(new Uint8Array(size)), derivedOnce);
  readonly asked: Request[] = [];
  ready: Readiness | null = null; // what the server answers to who asks
  prepared = 0; // how often the worker was asked to be there
  isSilent = false; // the server does not learn that a client has gone
  private readonly lines = new Set<Line>();
  private readonly timers = new Map<number, Set<() => void>>(); // by when

  constructor(
    private readonly accept: Accept,
    private readonly shared = new Shared(),
  ) {}

  /** What is sent takes a ms in each direction; what is on its way when the connection breaks is lost. */
  connect(ears: SocketEvents): Socket {
    let isOpen = true; // as the server sees it
    let isHeard = true; // the client still listens
    let line: Line | null = null;
    const close = () => {
      if (!isOpen) return;
      isOpen = false;
      if (line) this.lines.delete(line);
      this.setTimer(1, () => isHeard && ears.closed(""));
    };
    const peer = this.accept((message) => {
      const data = typeof message === "string" ? message : JSON.stringify(message);
      const isThere = isOpen;
      this.setTimer(1, () => isThere && isHeard && !line?.isCut && ears.received(data));
    }, close);
    line = {
      isCut: false,
      cut: () => {
        peer?.closed();
        close();
      },
    };
    const { lines } = this;
    lines.add(line);
    const isCut = () => line?.isCut ?? false;
    if (peer) this.setTimer(1, () => isOpen && isHeard && ears.opened());
    else close();
    return {
      send: (text) => this.setTimer(1, () => isOpen && !isCut() && peer?.receive(text)),
      close: () => {
        if (!isHeard) return;
        isHeard = false;
        this.setTimer(1, () => {
          if (!isOpen) return;
          isOpen = false;
          if (line) lines.delete(line);
          if (!this.isSilent) peer?.closed();
        });
      },
    };
  }

  /** All connections break. */
  cut(): void {
    for (const line of this.lines) {
      line.isCut = true;
      line.cut();
    }
  }

  async readiness(): Promise<Readiness | null> {
    return this.ready;
  }

  now(): number {
    return this.time + this.shift;
  }

  monotonic(): number {
    return this.time;
  }

  setTimer(ms: number, call: () => void): () => void {
    const at = Math.ceil(this.time + ms);
    const timers = this.timers.get(at) ?? new Set();
    const timer = () => call(); // each is another one
    this.timers.set(at, timers.add(timer));
    return () => timers.delete(timer);
  }

  random(): number {
    return this.dice();
  }

  token(): string {
    return Buffer.from(randomFillSync(new Uint8Array(16))).toString("base64url");
  }

  load(key: string): string {
    return this.shared.stored.get(key) ?? "";
  }

  save(key: string, value: string): void {
    this.shared.stored.set(key, value);
  }

  async claim(name: string): Promise<boolean> {
    if (this.shared.claims.has(name)) return false;
    this.shared.claims.set(name, this);
    return true;
  }

  release(name: string): void {
    if (this.shared.claims.get(name) === this) this.shared.claims.delete(name);
  }

  /** The tab is closed, as far as the others see it. */
  releaseAll(): void {
    for (const [name, world] of this.shared.claims) if (world === this) this.shared.claims.delete(name);
  }

  startWorker(): void {
    this.prepared += 1;
  }

  async callWorker(request: Request): Promise<Answer> {
    this.asked.push(request);
    return this.sealing.handle(request);
  }

  /** Let so many ms pass, and everything that happens in them. */
  async pass(ms = 0): Promise<void> {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const at = Math.min(...this.timers.keys());
      if (at > end) break;
      this.time = Math.max(this.time, at);
      for (const call of this.timers.get(at) ?? []) {
        this.timers.get(at)?.delete(call);
        call();
        await settled();
      }
      this.timers.delete(at);
    }
    this.time = end;
  }
}

/** Wait until all that was promised has come. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 12; round += 1) await Promise.resolve();
}

/** A chat, and what it has told. */
export function chatIn(world: World): { chat: Core; changes: Change[] } {
  const chat = new Core(world);
  const changes: Change[] = [];
  chat.subscribe((change) => changes.push(change));
  return { chat, changes };
}

/** The entries of a conversation as short lines. */
export function lines(chat: Core, id: string): string[] {
  return (chat.conversation(id)?.entries ?? []).map((entry) => {
    const what = entry.body || entry.names.join(",") || `(${entry.problem || entry.encryption})`;
    const state = entry.state === "sent" ? "" : ` [${entry.state}]`;
    return `${entry.kind} ${entry.from}: ${what}${state}`;
  });
}
