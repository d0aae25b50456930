// The whispers to one name: which have come, and which were read. It knows numbers only.
//
// The server keeps them until they are confirmed, and what is confirmed never comes again: so that is done for what
// was read, not for what has merely come into a page that may be closed the next moment.

export class Inbox {
  private highest = 0; // the largest seq
  private readonly unread = new Set<number>(); // ascending, as they come

  /** Note that it has come; false: it is known. */
  add(seq: number, isRead: boolean): boolean {
    if (seq <= this.highest) return false;
    this.highest = seq;
    if (!isRead) this.unread.add(seq);
    return true;
  }

  markRead(seq: number): void {
    this.unread.delete(seq);
  }

  /** The largest seq up to which all were read. */
  get readPosition(): number {
    for (const first of this.unread) return first - 1;
    return this.highest;
  }
}
