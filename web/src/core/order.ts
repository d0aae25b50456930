// One room's messages in the order of their numbers, each once (as selchat/client/protocol/order.py). A room has no holes:
// what others say comes in order, but what one says oneself comes back as an `ack`, before or after its neighbours,
// and after a break some comes again.

import type { Message } from "./events.ts";

const MAX_PENDING = 4096; // messages that wait for one with a lower number
const MAX_GAPS = 64; // that wait likewise

export type Delivery = { message: Message } | { after: number; before: number };

/** `through` is the number up to which all was given back, or is known not to come: where to go on after a break. */
export class ReorderBuffer {
  position: number;
  private highestSeen: number; // the largest number that the server has come to: it shows a room in order
  private readonly pending = new Map<number, Message>();
  private readonly gaps = new Map<number, number>(); // that were announced: the numbers before and after each

  constructor(through: number) {
    this.position = this.highestSeen = through;
  }

  /** A new connection: what comes on it comes from `through` on. */
  startConnection(): void {
    this.highestSeen = this.position;
  }

  /** Take a message; one that was taken before is dropped. `acked`: it is known from its `ack`. */
  add(message: Message, fromAck: boolean): void {
    const { seq } = message;
    if (!fromAck) this.highestSeen = Math.max(this.highestSeen, seq);
    if (seq > this.position && !this.pending.has(seq)) this.pending.set(seq, message);
  }

  /** What is between the two will not come. */
  addGap(after: number, before: number): void {
    if (before <= this.position + 1 || before <= after + 1) return;
    this.highestSeen = Math.max(this.highestSeen, before - 1);
    this.gaps.set(after, Math.max(before, this.gaps.get(after) ?? 0));
  }

  /** What is in order now. `waiting`: an `ack` of this room may be on its way. */
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

  /** Go on after that number, as the numbers begin anew; returns what was held until now. */
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

  /** Pass the announced gap that is next, up to what is known in it. */
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
