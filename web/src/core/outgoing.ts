// What was said and is not acknowledged yet, in order, over any number of connections (as
// selchat/client/protocol/outgoing.py and saying.py). It knows ids, sizes and the window; not what is in a message.

import type { EncodedBody } from "./events.ts";
import { nameKey } from "./text.ts";

const QUEUE_LIMIT = 4 * 1024 * 1024; // bytes of what was typed and is not sent

/**
 * queued   waits for a connection, or for the window     -> sent
 * sent     on its way on this connection                 -> queued when that is lost, put-off when it is not stored
 * put-off  the server could not store it                 -> queued when it is time to try again
 */
type Progress = "queued" | "sent" | "deferred";

/** One message, which always has the same id; for a room, or for one person (`to`). */
export class OutgoingMessage {
  progress: Progress = "queued";
  private readonly encodings: EncodedBody[] = [];
  readonly key: string; // the same for every way to write the room

  constructor(
    readonly id: string,
    readonly room: string,
    readonly to: string,
    readonly body: string,
    readonly mustEncrypt: boolean, // it was said with a passphrase: in the clear it goes nowhere
    readonly size: number, // bytes of the payload that says it, at most
  ) {
    this.key = nameKey(room);
  }

  recordSent(written: EncodedBody): void {
    this.encodings.push(written);
  }

  /** How it was sent; null: more than once, so that nobody knows which one was stored. */
  get sentOnceAs(): EncodedBody | null {
    return this.encodings.length === 1 ? (this.encodings[0] ?? null) : null;
  }
}

export class OutgoingQueue {
  private readonly messages = new Map<string, OutgoingMessage>(); // by id, in the order in which they were said
  private queue: OutgoingMessage[] = []; // in that order too; some may be done meanwhile
  private head = 0; // where the queue begins
  private readonly sentTo = new Map<string, number>();
  private size = 0; // bytes
  private sent = 0; // messages on their way
  // failing: until `retry`; retrying: until an ack, one message finds out whether the server stores again
  private serverStorage: "working" | "failing" | "retrying" = "working";

  get count(): number {
    return this.messages.size;
  }

  /** Whether the server could not store something, so that `retry` is to be called after a while. */
  get needsRetry(): boolean {
    return this.serverStorage === "failing";
  }

  get(id: string): OutgoingMessage | undefined {
    return this.messages.get(id);
  }

  /** Whether something for the room of that key is on its way. */
  hasSentTo(key: string): boolean {
    return (this.sentTo.get(key) ?? 0) > 0;
  }

  hasNoRoomFor(size: number): boolean {
    return this.size + size > QUEUE_LIMIT;
  }

  add(message: OutgoingMessage): void {
    this.messages.set(message.id, message);
    this.queue.push(message);
    this.size += message.size;
  }

  /** The next message to be sent, which counts as sent; nothing overtakes one that is not ready. */
  next(limit: number, isReady: (message: OutgoingMessage) => boolean): OutgoingMessage | undefined {
    if (this.serverStorage === "failing") return undefined;
    const window = this.serverStorage === "retrying" ? 1 : limit;
    while (this.head < this.queue.length && this.sent < window) {
      const message = this.queue[this.head] as OutgoingMessage;
      const isQueued = message.progress === "queued" && this.messages.has(message.id);
      if (isQueued && !isReady(message)) return undefined;
      this.head += 1;
      if (this.head > 1000 && this.head * 2 > this.queue.length) this.setQueue(this.queue.slice(this.head));
      if (isQueued) {
        this.setProgress(message, "sent");
        return message;
      }
    }
    return undefined;
  }

  /** It is stored. */
  acknowledge(message: OutgoingMessage): void {
    this.drop(message);
    if (this.serverStorage === "working") return;
    // One that was on its way when the server recovered may be stored before those that were put off.
    this.serverStorage = "working";
    this.requeueDeferred();
  }

  /** It is refused. */
  drop(message: OutgoingMessage): void {
    if (!this.messages.delete(message.id)) return;
    this.setProgress(message, "queued");
    this.size -= message.size;
  }

  /** It could not be stored; returns whether that is news. */
  defer(message: OutgoingMessage): boolean {
    this.setProgress(message, "deferred");
    const news = this.serverStorage === "working";
    this.serverStorage = "failing";
    return news;
  }

  /** Say again what could not be stored. */
  retry(): void {
    if (this.serverStorage !== "failing") return;
    this.serverStorage = "retrying";
    this.requeueDeferred();
  }

  /** Queue everything again, in order, for the next connection. */
  connectionLost(): void {
    if (this.serverStorage === "failing") this.serverStorage = "retrying";
    for (const message of this.messages.values()) this.setProgress(message, "queued");
    this.setQueue([...this.messages.values()]);
  }

  private requeueDeferred(): void {
    for (const message of this.messages.values()) {
      if (message.progress === "deferred") this.setProgress(message, "queued");
    }
    this.setQueue([...this.messages.values()].filter((message) => message.progress === "queued"));
  }

  private setQueue(queue: OutgoingMessage[]): void {
    this.queue = queue;
    this.head = 0;
  }

  private setProgress(message: OutgoingMessage, progress: Progress): void {
    const step = Number(progress === "sent") - Number(message.progress === "sent");
    message.progress = progress;
    if (!step) return;
    this.sent += step;
    this.sentTo.set(message.key, (this.sentTo.get(message.key) ?? 0) + step);
    if (!this.sentTo.get(message.key)) this.sentTo.delete(message.key);
  }
}
