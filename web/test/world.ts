// Platform without a browser: a clock that the test moves, sockets that are function calls, storage in a map.

import { randomFillSync } from "node:crypto";
import type { Change } from "../src/core/api.ts";
import { Core } from "../src/core/chat.ts";
import { type Answer, EncryptionSessions, type Request, roomKey } from "../src/core/e2ee.ts";
import type { Platform, Readiness, Socket, SocketEvents } from "../src/core/platform.ts";

const derived = new Map<string, Uint8Array>();

/** Derive a room's key, once for all tests of a file. */
function deriveOnce(passphrase: string, salt: Uint8Array): Uint8Array {
  const key = derived.get(`${passphrase} ${salt}`) ?? roomKey(passphrase, salt);
  derived.set(`${passphrase} ${salt}`, key);
  return key;
}

/** The server's end of a connection. */
export interface Peer {
  receive(text: string): void; // a frame from the client
  closed(): void; // the client disconnected
}

export type Accept = (send: (message: unknown) => void, close: () => void) => Peer | null;

interface Connection {
  isCut: boolean;
  cut(): void;
}

/** The state that the tabs of one browser share. */
export class Shared {
  readonly stored = new Map<string, string>();
  readonly claims = new Map<string, World>();
}

/** `accept` plays the server; null refuses the connection. */
export class World implements Platform {
  time = 1_000_000_000_000; // monotonic
  shift = 0; // ms by which a user set the clock
  isSecure = true;
  randomValue = () => 0.5;
  readonly sessions = new EncryptionSessions((size) => randomFillSync(new Uint8Array(size)), deriveOnce);
  readonly requests: Request[] = [];
  ready: Readiness | null = null; // the server's answer about its readiness
  workerStarts = 0; // number of calls of startWorker()
  isSilent = false; // the server does not notice that a client disconnected
  private readonly connections = new Set<Connection>();
  private readonly timers = new Map<number, Set<() => void>>(); // by due time

  constructor(
    private readonly accept: Accept,
    private readonly shared = new Shared(),
  ) {}

  /** A frame takes 1 ms in each direction. Frames in flight are lost with the connection. */
  connect(events: SocketEvents): Socket {
    let isOpen = true; // for the server
    let isListening = true; // the client still listens
    let line: Connection | null = null;
    const close = () => {
      if (!isOpen) return;
      isOpen = false;
      if (line) this.connections.delete(line);
      this.setTimer(1, () => isListening && events.closed(""));
    };
    const peer = this.accept((message) => {
      const data = typeof message === "string" ? message : JSON.stringify(message);
      const isThere = isOpen;
      this.setTimer(1, () => isThere && isListening && !line?.isCut && events.received(data));
    }, close);
    line = {
      isCut: false,
      cut: () => {
        peer?.closed();
        close();
      },
    };
    const { connections: lines } = this;
    lines.add(line);
    const isCut = () => line?.isCut ?? false;
    if (peer) this.setTimer(1, () => isOpen && isListening && events.opened());
    else close();
    return {
      send: (text) => this.setTimer(1, () => isOpen && !isCut() && peer?.receive(text)),
      close: () => {
        if (!isListening) return;
        isListening = false;
        this.setTimer(1, () => {
          if (!isOpen) return;
          isOpen = false;
          if (line) lines.delete(line);
          if (!this.isSilent) peer?.closed();
        });
      },
    };
  }

  /** Break all connections. */
  cut(): void {
    for (const line of this.connections) {
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
    const timer = () => call(); // distinct for each call
    this.timers.set(at, timers.add(timer));
    return () => timers.delete(timer);
  }

  random(): number {
    return this.randomValue();
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

  /** Close the tab, as far as the other tabs see it. */
  releaseAll(): void {
    for (const [name, world] of this.shared.claims) if (world === this) this.shared.claims.delete(name);
  }

  startWorker(): void {
    this.workerStarts += 1;
  }

  async callWorker(request: Request): Promise<Answer> {
    this.requests.push(request);
    return this.sessions.handle(request);
  }

  /** Let that many ms pass, with everything that happens in them. */
  async pass(ms = 0): Promise<void> {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const at = Math.min(...this.timers.keys());
      if (at > end) break;
      this.time = Math.max(this.time, at);
      for (const call of this.timers.get(at) ?? []) {
        this.timers.get(at)?.delete(call);
        call();
        await settle();
      }
      this.timers.delete(at);
    }
    this.time = end;
  }
}

/** Wait for all pending promises. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 12; round += 1) await Promise.resolve();
}

/** A chat, and the changes that it reported. */
export function chatIn(world: World): { chat: Core; changes: Change[] } {
  const chat = new Core(world);
  const changes: Change[] = [];
  chat.subscribe((change) => changes.push(change));
  return { chat, changes };
}

/** Return the entries of a conversation as short lines. */
export function lines(chat: Core, id: string): string[] {
  return (chat.conversation(id)?.entries ?? []).map((entry) => {
    const what = entry.body || entry.names.join(",") || `(${entry.problem || entry.encryption})`;
    const state = entry.state === "sent" ? "" : ` [${entry.state}]`;
    return `${entry.kind} ${entry.from}: ${what}${state}`;
  });
}
