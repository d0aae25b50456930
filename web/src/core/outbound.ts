// What was said and is not acknowledged yet, in order, over any number of connections (as
// selchat/client/protocol/outgoing.py and saying.py). It knows ids, sizes and the window; not what is in a message.

import type { Written } from "./events.ts";
import { nameKey } from "./text.ts";

const QUEUE_LIMIT = 4 * 1024 * 1024; // bytes of what was typed and is not sent

/**
 * queued   waits for a connection, or for the window     -> sent
 * sent     on its way on this connection                 -> queued when that is lost, put-off when it is not stored
 * put-off  the server could not store it                 -> queued when it is time to try again
 */
type Progress = "queued" | "sent" | "put-off";

/** One message, which always has the same id; for a room, or for one person (`to`). */
export class Outgoing {
  progress: Progress = "queued";
  private readonly written: Written[] = [];
  readonly key: string; // the same for every way to write the room

  constructor(
    readonly id: string,
    readonly room: string,
    readonly to: string,
    readonly body: string,
    readonly sealed: boolean, // it was said with a passphrase: in the clear it goes nowhere
    readonly size: number, // bytes of the payload that says it, at most
  ) {
    this.key = nameKey(room);
  }

  wrote(written: Written): void {
    this.written.push(written);
  }

  /** How it was sent; null: more than once, so that nobody knows which one was stored. */
  get only(): Written | null {
    return this.written.length === 1 ? (this.written[0] ?? null) : null;
  }
}

export class Outbound {
  private readonly messages = new Map<string, Outgoing>(); // by id, in the order in which they were said
  private queue: Outgoing[] = []; // in that order too; some may be done meanwhile
  private head = 0; // where the queue begins
  private readonly sentTo = new Map<string, number>();
  private size = 0; // bytes
  private sent = 0; // messages on their way
  // failing: until `retry`; retrying: until an ack, one message finds out whether the server stores again
  private storing: "working" | "failing" | "retrying" = "working";

  get waiting(): number {
    return this.messages.size;
  }

  /** Whether the server could not store something, so that `retry` is to be called after a while. */
  get wantsRetry(): boolean {
    return this.storing === "failing";
  }

  get(id: string): Outgoing | undefined {
    return this.messages.get(id);
  }

  /** Whether something for the room of that key is on its way. */
  isSentTo(key: string): boolean {
    return (this.sentTo.get(key) ?? 0) > 0;
  }

  isFullFor(size: number): boolean {
    return this.size + size > QUEUE_LIMIT;
  }

  add(message: Outgoing): void {
    this.messages.set(message.id, message);
    this.queue.push(message);
    this.size += message.size;
  }

  /** The next message to be sent, which counts as sent; nothing overtakes one that is not ready. */
  next(most: number, isReady: (message: Outgoing) => boolean): Outgoing | undefined {
    if (this.storing === "failing") return undefined;
    const window = this.storing === "retrying" ? 1 : most;
    while (this.head < this.queue.length && this.sent < window) {
      const message = this.queue[this.head] as Outgoing;
      const wanted = message.progress === "queued" && this.messages.has(message.id);
      if (wanted && !isReady(message)) return undefined;
      this.head += 1;
      if (this.head > 1000 && this.head * 2 > this.queue.length) this.requeue(this.queue.slice(this.head));
      if (wanted) {
        this.move(message, "sent");
        return message;
      }
    }
    return undefined;
  }

  /** It is stored. */
  done(message: Outgoing): void {
    this.drop(message);
    if (this.storing === "working") return;
    // One that was on its way when the server recovered may be stored before those that were put off.
    this.storing = "working";
    this.tryAgain();
  }

  /** It is refused. */
  drop(message: Outgoing): void {
    if (!this.messages.delete(message.id)) return;
    this.move(message, "queued");
    this.size -= message.size;
  }

  /** It could not be stored; returns whether that is news. */
  putOff(message: Outgoing): boolean {
    this.move(message, "put-off");
    const news = this.storing === "working";
    this.storing = "failing";
    return news;
  }

  /** Say again what could not be stored. */
  retry(): void {
    if (this.storing !== "failing") return;
    this.storing = "retrying";
    this.tryAgain();
  }

  /** Queue everything again, in order, for the next connection. */
  connectionLost(): void {
    if (this.storing === "failing") this.storing = "retrying";
    for (const message of this.messages.values()) this.move(message, "queued");
    this.requeue([...this.messages.values()]);
  }

  private tryAgain(): void {
    for (const message of this.messages.values()) {
      if (message.progress === "put-off") this.move(message, "queued");
    }
    this.requeue([...this.messages.values()].filter((message) => message.progress === "queued"));
  }

  private requeue(queue: Outgoing[]): void {
    this.queue = queue;
    this.head = 0;
  }

  private move(message: Outgoing, progress: Progress): void {
    const step = Number(progress === "sent") - Number(message.progress === "sent");
    message.progress = progress;
    if (!step) return;
    this.sent += step;
    this.sentTo.set(message.key, (this.sentTo.get(message.key) ?? 0) + step);
    if (!this.sentTo.get(message.key)) this.sentTo.delete(message.key);
  }
}
