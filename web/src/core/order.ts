// One room's messages in the order of their numbers, each once (as selchat/client/protocol/order.py). A room has no holes:
// what others say comes in order, but what one says oneself comes back as an `ack`, before or after its neighbours,
// and after a break some comes again.

import type { Message } from "./events.ts";

const MOST_HELD = 4096; // messages that wait for one with a lower number
const MOST_GAPS = 64; // that wait likewise

export type Given = { message: Message } | { after: number; before: number };

/** `through` is the number up to which all was given back, or is known not to come: where to go on after a break. */
export class InOrder {
  through: number;
  private edge: number; // the largest number that the server has come to: it shows a room in order
  private readonly held = new Map<number, Message>();
  private readonly gaps = new Map<number, number>(); // that were announced: the numbers before and after each

  constructor(through: number) {
    this.through = this.edge = through;
  }

  /** A new connection: what comes on it comes from `through` on. */
  begin(): void {
    this.edge = this.through;
  }

  /** Take a message; one that was taken before is dropped. `acked`: it is known from its `ack`. */
  take(message: Message, acked: boolean): void {
    const { seq } = message;
    if (!acked) this.edge = Math.max(this.edge, seq);
    if (seq > this.through && !this.held.has(seq)) this.held.set(seq, message);
  }

  /** What is between the two will not come. */
  takeGap(after: number, before: number): void {
    if (before <= this.through + 1 || before <= after + 1) return;
    this.edge = Math.max(this.edge, before - 1);
    this.gaps.set(after, Math.max(before, this.gaps.get(after) ?? 0));
  }

  /** What is in order now. `waiting`: an `ack` of this room may be on its way. */
  release(waiting: boolean): Given[] {
    const given: Given[] = [];
    while (this.held.size || this.gaps.size) {
      const message = this.held.get(this.through + 1);
      if (message) {
        this.held.delete(message.seq);
        this.through = message.seq;
        given.push({ message });
      } else if (!this.passGap(given)) {
        const lost = this.through < this.edge && !waiting;
        if (!lost && this.held.size <= MOST_HELD && this.gaps.size <= MOST_GAPS) break;
        let next = Number.POSITIVE_INFINITY;
        for (const seq of this.held.keys()) next = Math.min(next, seq);
        for (const after of this.gaps.keys()) next = Math.min(next, after + 1);
        this.pass(next, given);
      }
    }
    return given;
  }

  /** Go on after that number, as the numbers begin anew; returns what was held until now. */
  restart(through: number): Given[] {
    const given: Given[] = [];
    for (const message of [...this.held.values()].sort((a, b) => a.seq - b.seq)) {
      this.pass(message.seq, given);
      this.through = message.seq;
      given.push({ message });
    }
    this.held.clear();
    this.gaps.clear();
    this.through = this.edge = through;
    return given;
  }

  /** Pass the announced gap that is next, up to what is known in it. */
  private passGap(given: Given[]): boolean {
    for (const [after, before] of this.gaps) {
      if (after > this.through) continue;
      let inside = before;
      for (const seq of this.held.keys()) if (seq > this.through) inside = Math.min(inside, seq);
      if (inside === before) this.gaps.delete(after);
      this.pass(inside, given);
      return true;
    }
    return false;
  }

  private pass(before: number, given: Given[]): void {
    if (before <= this.through + 1) return;
    given.push({ after: this.through, before });
    this.through = before - 1;
  }
}
