// Reorder buffer: the messages of one room by number, each once (as in selchat/client/protocol/rooms.py). A
// room has no holes, but numbers arrive out of order: the user's own messages come as an `ack`, before or
// after their neighbours, and after a reconnect some messages arrive twice.

import type { Message } from "./events.ts";

const MAX_PENDING = 4096; // messages that wait for one with a lower number
const MAX_GAPS = 64; // gaps that wait for a lower number

export type Delivery = { message: Message } | { after: number; before: number };

/** `position`: every number up to it was delivered or will never come. Resume after it. */
export class ReorderBuffer {
  position: number;
  private highestSeen: number; // the largest number that the server sent: it shows a room in order
  private readonly pending = new Map<number, Message>();
  private readonly gaps = new Map<number, number>(); // announced gaps: the number before and after each

  constructor(through: number) {
    this.position = this.highestSeen = through;
  }

  /** Start a connection, on which messages come from `position` on. */
  startConnection(): void {
    this.highestSeen = this.position;
  }

  /** Add a message; ignore a duplicate. `fromAck`: it is known from its `ack`. */
  add(message: Message, fromAck: boolean): void {
    const { seq } = message;
    if (!fromAck) this.highestSeen = Math.max(this.highestSeen, seq);
    if (seq > this.position && !this.pending.has(seq)) this.pending.set(seq, message);
  }

  /** Add a gap: the numbers between the two will never come. */
  addGap(after: number, before: number): void {
    if (before <= this.position + 1 || before <= after + 1) return;
    this.highestSeen = Math.max(this.highestSeen, before - 1);
    this.gaps.set(after, Math.max(before, this.gaps.get(after) ?? 0));
  }

  /** Return everything that is in order now. `ackExpected`: an `ack` for this room may still arrive. */
  release(ackExpected: boolean): Delivery[] {
    const deliveries: Delivery[] = [];
    while (this.pending.size || this.gaps.size) {
      const message = this.pending.get(this.position + 1);
      if (message) {
        this.pending.delete(message.seq);
        this.position = message.seq;
        deliveries.push({ message });
      } else if (!this.skipGap(deliveries)) {
        const lost = this.position < this.highestSeen && !ackExpected;
        if (!lost && this.pending.size <= MAX_PENDING && this.gaps.size <= MAX_GAPS) break;
        let next = Number.POSITIVE_INFINITY;
        for (const seq of this.pending.keys()) next = Math.min(next, seq);
        for (const after of this.gaps.keys()) next = Math.min(next, after + 1);
        this.skipTo(next, deliveries);
      }
    }
    return deliveries;
  }

  /** Restart after that number, as the server renumbers; return all messages still waiting. */
  restart(through: number): Delivery[] {
    const given: Delivery[] = [];
    for (const message of [...this.pending.values()].sort((a, b) => a.seq - b.seq)) {
      this.skipTo(message.seq, given);
      this.position = message.seq;
      given.push({ message });
    }
    this.pending.clear();
    this.gaps.clear();
    this.position = this.highestSeen = through;
    return given;
  }

  /** Skip the announced gap that is next, up to the first known number in it. */
  private skipGap(given: Delivery[]): boolean {
    for (const [after, before] of this.gaps) {
      if (after > this.position) continue;
      let inside = before;
      for (const seq of this.pending.keys()) if (seq > this.position) inside = Math.min(inside, seq);
      if (inside === before) this.gaps.delete(after);
      this.skipTo(inside, given);
      return true;
    }
    return false;
  }

  private skipTo(before: number, given: Delivery[]): void {
    if (before <= this.position + 1) return;
    given.push({ after: this.position, before });
    this.position = before - 1;
  }
}
