// A world without a browser: a clock that the test moves, sockets that are calls, storage in a map.

import { randomFillSync } from "node:crypto";
import type { Change } from "../src/core/api.ts";
import { Core } from "../src/core/chat.ts";
import type { Ears, Platform, Socket } from "../src/core/platform.ts";
import { type Answer, type Request, Sealing } from "../src/core/sealing.ts";

/** One end of a connection, for who plays the server. */
export interface Peer {
  receive(text: string): void; // the client has sent this
  closed(): void; // the client has gone
}

export type Accept = (send: (message: unknown) => void, close: () => void) => Peer | null;

/** What the tabs of one browser share. */
export class Shared {
  readonly stored = new Map<string, string>();
  readonly claims = new Map<string, World>();
}

/** `accept` plays the server: null refuses the connection. */
export class World implements Platform {
  time = 1_000_000_000_000;
  isPrivate = true;
  dice = () => 0.5;
  readonly sealing = new Sealing((size) => randomFillSync(new Uint8Array(size)));
  readonly asked: Request[] = [];
  private timers: { at: number; number: number; call: () => void }[] = [];
  private made = 0;

  constructor(
    private readonly accept: Accept,
    private readonly shared = new Shared(),
  ) {}

  connect(ears: Ears): Socket {
    let isOpen = true;
    const close = () => {
      if (!isOpen) return;
      isOpen = false;
      this.after(0, () => ears.closed(""));
    };
    const peer = this.accept((message) => {
      const data = typeof message === "string" || message === null ? message : JSON.stringify(message);
      if (isOpen) ears.received(data);
    }, close);
    if (peer) this.after(0, () => isOpen && ears.opened());
    else close();
    return {
      send: (text) => isOpen && peer?.receive(text),
      close: () => {
        if (isOpen) peer?.closed();
        isOpen = false;
        ears.closed = ears.opened = ears.received = () => {};
      },
    };
  }

  now(): number {
    return this.time;
  }

  after(ms: number, call: () => void): () => void {
    this.made += 1;
    const timer = { at: this.time + ms, number: this.made, call };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }

  random(): number {
    return this.dice();
  }

  token(): string {
    return Buffer.from(randomFillSync(new Uint8Array(16))).toString("base64url");
  }

  recall(key: string): string {
    return this.shared.stored.get(key) ?? "";
  }

  keep(key: string, value: string): void {
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

  async seal(request: Request): Promise<Answer> {
    this.asked.push(request);
    return this.sealing.answer(request);
  }

  /** Let so many ms pass, and everything that happens in them. */
  async pass(ms = 0): Promise<void> {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const due = this.timers.filter((timer) => timer.at <= end);
      if (!due.length) break;
      const next = due.reduce((a, b) => (b.at < a.at || (b.at === a.at && b.number < a.number) ? b : a));
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = Math.max(this.time, next.at);
      next.call();
      await settled();
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
    const what = entry.body || entry.names.join(",") || `(${entry.problem || entry.sealed})`;
    const state = entry.state === "sent" ? "" : ` [${entry.state}]`;
    return `${entry.kind} ${entry.from}: ${what}${state}`;
  });
}
