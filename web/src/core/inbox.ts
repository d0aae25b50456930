// Which direct messages to one name arrived, and which were read. It knows numbers only.
//
// The server keeps direct messages until this client acknowledges them, and never sends an acknowledged one
// again. So the client acknowledges the messages that the user read, and not everything in a page that may
// close the next moment.

export class Inbox {
  private highest = 0; // the largest seq that arrived
  private readonly unread = new Set<number>(); // ascending, in order of arrival

  /** Record that a message arrived; false: it is a duplicate. */
  add(seq: number, isRead: boolean): boolean {
    if (seq <= this.highest) return false;
    this.highest = seq;
    if (!isRead) this.unread.add(seq);
    return true;
  }

  markRead(seq: number): void {
    this.unread.delete(seq);
  }

  /** The largest seq up to which all messages were read. */
  get readPosition(): number {
    for (const first of this.unread) return first - 1;
    return this.highest;
  }
}
