// Messages that the server has not acknowledged yet, in order, across any number of connections (as in
// selchat/client/protocol/outbox.py). It knows ids, sizes and the window, but not the content of a message.

import type { EncodedBody } from "./events.ts";
import { nameKey } from "./text.ts";

const QUEUE_LIMIT = 4 * 1024 * 1024; // bytes of unsent messages

/**
 * queued    waits for a connection, or for the window   -> sent
 * sent      sent on this connection                     -> queued when it is lost; deferred when the server cannot store it
 * deferred  the server could not store it               -> queued at the next retry
 */
type Progress = "queued" | "sent" | "deferred";

/** One message, for a room or for one person (`to`). Its id never changes. */
export class OutgoingMessage {
  progress: Progress = "queued";
  private readonly encodings: EncodedBody[] = [];
  readonly key: string; // the same for every spelling of the room's name

  constructor(
    readonly id: string,
    readonly room: string,
    readonly to: string,
    readonly body: string,
    readonly mustEncrypt: boolean, // typed while a passphrase was set: never send it unencrypted
    readonly size: number, // upper bound of the payload, in bytes
  ) {
    this.key = nameKey(room);
  }

  recordSent(encoded: EncodedBody): void {
    this.encodings.push(encoded);
  }

  /** The form in which it was sent; null: sent more than once, so the stored form is unknown. */
  get sentOnceAs(): EncodedBody | null {
    return this.encodings.length === 1 ? (this.encodings[0] ?? null) : null;
  }
}

export class Outbox {
  private readonly messages = new Map<string, OutgoingMessage>(); // by id, in the order of typing
  private queue: OutgoingMessage[] = []; // in the same order; some may be acknowledged already
  private head = 0; // where the queue begins
  private readonly sentTo = new Map<string, number>();
  private size = 0; // bytes
  private sent = 0; // sent and not acknowledged
  // failing: until `retry`; retrying: one message at a time, until an ack shows that the server stores again
  private serverStorage: "working" | "failing" | "retrying" = "working";

  get count(): number {
    return this.messages.size;
  }

  /** Whether the server failed to store a message, so that `retry` must be called after a while. */
  get needsRetry(): boolean {
    return this.serverStorage === "failing";
  }

  get(id: string): OutgoingMessage | undefined {
    return this.messages.get(id);
  }

  /** Whether a message for the room with that key was sent and not acknowledged. */
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

  /** Return the next message to send and mark it as sent. No message overtakes one that is not ready. */
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

  /** The server stored it. */
  acknowledge(message: OutgoingMessage): void {
    this.drop(message);
    if (this.serverStorage === "working") return;
    // The server may store a message that arrives just as it recovers before the deferred ones.
    this.serverStorage = "working";
    this.requeueDeferred();
  }

  /** The server rejected it. */
  drop(message: OutgoingMessage): void {
    if (!this.messages.delete(message.id)) return;
    this.setProgress(message, "queued");
    this.size -= message.size;
  }

  /** The server could not store it. Return whether this is the first failure. */
  defer(message: OutgoingMessage): boolean {
    this.setProgress(message, "deferred");
    const news = this.serverStorage === "working";
    this.serverStorage = "failing";
    return news;
  }

  /** Send again the messages that the server could not store. */
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
