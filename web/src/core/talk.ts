// One conversation as it is shown: its entries in order, what of it was read, who is there. It knows no wire, and says
// what has changed.
//
// Entries come in two parts: the first `settled` have their place for good, and below them is what one has said oneself
// and the server has not given its place yet. A page may stay open for weeks: the oldest go, many at a time (`trim`), and
// of a room they can be fetched again.

import type { Change, Conversation, Entry } from "./api.ts";
import type { Message } from "./events.ts";
import type { Opened } from "./sealing.ts";
import { nameKey, names, visible, visibleLines } from "./text.ts";
import { isSealed } from "./vault.ts";

const LOCKED = "encrypted; give the passphrase to read it";
const CLEAR = "not encrypted";
const MOST_PEOPLE = 1000;
const MOST_NAMED = 100; // names in one entry of those who came or went
const MOST = 20_000; // entries that are kept
const STEP = 2_000; // more than that before any go: the view lays out all of them anew
const PATIENCE = 20_000; // more than that, of what comes while one reads further up, where nothing shall vanish

export class Talk implements Conversation {
  readonly entries: Entry[] = [];
  topic = "";
  more = false;
  hasPast = false; // a page of the past has come
  unread = 0;
  mentioned = false;
  firstUnread = "";
  people: readonly string[] = [];
  total = 0;
  locked: Conversation["locked"] = "no";
  name: string; // safe to be shown; `address` is as the server writes it
  first = 0; // the seq below which is the past that was not fetched
  readonly closed = new Map<string, Message>(); // by key of the entry: what could not be read yet
  readonly unseen = new Map<string, Message>(); // by key: whispers that were not read
  private settled = 0;
  private unreadFrom = ""; // key of the first entry that was not read
  private epoch = 0; // how often the server has begun to number anew
  private made = 0; // keys without a seq
  private fetched = 0; // entries of the past that came since the last were dropped
  private origin = ""; // key of the entry before which the server has no history: it has begun a new one; "": none
  private hasSealed = false;
  isPromised = false; // in this browser, it was encrypted: nothing goes out in the clear before that is taken back
  private found = 0; // where an entry was found last

  constructor(
    readonly id: string,
    readonly kind: Conversation["kind"],
    public address: string,
    private readonly change: (change: Change) => void,
  ) {
    this.name = visible(address);
  }

  rename(address: string): void {
    if (address === this.address) return;
    this.address = address;
    this.name = visible(address);
    this.change({ what: "conversations" });
  }

  // -- entries -------------------------------------------------------------------------------------------

  newKey(): string {
    this.made += 1;
    return `n${this.made}`;
  }

  keyOf(message: Message): string {
    return message.seq && this.kind === "room" ? `${this.epoch}.${message.seq}` : this.newKey();
  }

  /** Something new, in its place. */
  add(entry: Entry): void {
    const at = this.settled;
    this.settled += 1;
    this.entries.splice(at, 0, entry);
    this.change({ what: "added", id: this.id, entries: [entry], at });
  }

  /** Something that one has said, which has no place yet. */
  addPending(entry: Entry): void {
    this.entries.push(entry);
    this.change({ what: "added", id: this.id, entries: [entry], at: this.entries.length - 1 });
  }

  /** What was said before the first entry. */
  addPast(entries: readonly Entry[]): void {
    if (!entries.length) return;
    this.entries.unshift(...entries);
    this.settled += entries.length;
    this.fetched += entries.length;
    this.change({ what: "added", id: this.id, entries, at: 0 });
  }

  get(key: string): Entry | undefined {
    return this.entries[this.find(key)];
  }

  /** The last entry that has its place. */
  get last(): Entry | undefined {
    return this.entries[this.settled - 1];
  }

  replace(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    const before = this.entries[at];
    if (!before) return;
    const entry = { ...before, ...changed };
    this.entries[at] = entry;
    this.change({ what: "changed", id: this.id, entry, at });
  }

  /** Give a pending one its place, which is below all that have theirs. */
  settle(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    if (at < this.settled) return this.replace(key, changed);
    const moved = at > this.settled;
    if (moved) this.entries.splice(this.settled, 0, ...this.entries.splice(at, 1));
    this.settled += 1;
    if (!moved) return this.replace(key, changed);
    this.entries[this.settled - 1] = { ...(this.entries[this.settled - 1] as Entry), ...changed };
    this.change({ what: "reset", id: this.id });
  }

  /** Take the place away from one: it is said again. */
  unsettle(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    const [entry] = this.entries.splice(at, 1);
    if (!entry) return;
    if (at < this.settled) this.settled -= 1;
    this.entries.push({ ...entry, ...changed });
    this.change({ what: "reset", id: this.id });
  }

  joinedOrLeft(kind: "joined" | "left", people: readonly string[], at: number): void {
    const last = this.last;
    const shown = people.map(visible);
    if (last?.kind === kind && last.names.length < MOST_NAMED)
      this.replace(last.key, { names: [...new Set([...last.names, ...shown])] });
    else this.add(entryOf(this.newKey(), kind, { names: shown, at }));
  }

  notice(body: string, at: number, kind: "notice" | "gap" = "notice"): void {
    this.add(entryOf(this.newKey(), kind, { body, at }));
  }

  /** Numbers come again that there were: the server was put back to a backup, or has begun a new history. */
  renumber(): void {
    this.epoch += 1;
  }

  /** The server has begun a new history, and what is above this line is not in it. */
  beginAnew(at: number): void {
    this.more = false;
    this.first = 0;
    this.notice("The server has begun a new history", at);
    this.origin = this.last?.key ?? "";
  }

  /** Drop the oldest, if there are too many; returns their keys. `isRead`: nobody is reading further up. */
  trim(isRead: boolean): string[] {
    const most = isRead ? MOST + STEP : MOST + PATIENCE + this.fetched;
    if (this.entries.length <= most) return [];
    const gone = this.entries.splice(0, Math.min(this.settled, this.entries.length - MOST));
    if (!gone.length) return [];
    const keys = new Set(gone.map((entry) => entry.key));
    this.settled -= gone.length;
    this.fetched = this.found = 0;
    for (const key of keys) {
      this.closed.delete(key);
      this.unseen.delete(key); // never seen, it is not read: it comes again to another page
    }
    if (keys.has(this.origin)) this.origin = "";
    if (keys.has(this.firstUnread)) this.firstUnread = "";
    if (keys.has(this.unreadFrom)) this.unreadFrom = this.entries[0]?.key ?? "";
    if (this.kind === "room" && !this.origin) {
      // After a backup was put back, the lowest number need not be the first.
      const seqs = this.entries.flatMap(({ seq }) => seq || []);
      this.first = seqs.length
        ? seqs.reduce((least, seq) => Math.min(least, seq))
        : gone.reduce((first, { seq }) => Math.max(first, seq + 1), this.first);
      this.more = this.first > 1;
    }
    this.change({ what: "reset", id: this.id });
    return [...keys];
  }

  /** What a message looks like. `own`: one's name; `words`: whether there is a passphrase here. */
  entry(message: Message, own: string, key: string, words: boolean, mine: boolean, old: boolean): Entry {
    const { seq, at } = message;
    const to = visible(message.to);
    const bare = entryOf(key, message.to ? "whisper" : "said", {
      from: visible(message.from),
      to,
      at,
      seq,
      mine,
      old,
    });
    if (isSealed(message)) {
      this.closed.set(key, message);
      this.sawSealed(words);
      return words ? { ...bare, sealed: "opening" } : { ...bare, sealed: "unreadable", problem: LOCKED };
    }
    const isClear = words && message.from !== "Server";
    const cipher = visible(message.cipher);
    const problem = isClear && !cipher ? CLEAR : "";
    const mention = !mine && names(message.body, own);
    return { ...bare, ...said(message, message.body), problem, cipher, mention };
  }

  /** All that is `closed` can be tried now, or not any more. */
  tryClosed(can: boolean): void {
    if (!this.closed.size) return;
    const changed = can
      ? ({ sealed: "opening", problem: "" } as const)
      : ({ sealed: "unreadable", problem: LOCKED } as const);
    this.entries.forEach((entry, at) => {
      if (this.closed.has(entry.key)) this.entries[at] = { ...entry, ...changed };
    });
    this.change({ what: "reset", id: this.id });
  }

  /** Take what was opened of what was `closed`. */
  opened(key: string, opened: Opened, own: string): Entry | undefined {
    const message = this.closed.get(key);
    const entry = this.get(key);
    if (!message || !entry) return undefined;
    if (!("text" in opened)) {
      if (!opened.again) this.closed.delete(key);
      this.replace(key, { sealed: "unreadable", problem: opened.problem });
      return undefined;
    }
    this.closed.delete(key);
    const mention = !entry.mine && names(opened.text, own);
    this.replace(key, { ...said(message, opened.text), sealed: "yes", problem: "", mention });
    return this.get(key);
  }

  /** Whether there is a passphrase now, and whether one was promised to be used. */
  lock(words: boolean, isPromised = this.isPromised): void {
    const locked = words ? "open" : this.hasSealed || isPromised ? "locked" : "no";
    if (locked === this.locked && isPromised === this.isPromised) return;
    this.locked = locked;
    this.isPromised = isPromised;
    this.change({ what: "conversations" });
  }

  // -- reading -------------------------------------------------------------------------------------------

  /** Note that something is new, and not seen. */
  countUnread(entry: Entry, message: Message): void {
    if (message.to && message.seq) this.unseen.set(entry.key, message);
    if (!this.unread) this.unreadFrom = entry.key;
    this.unread += 1;
    this.mentioned ||= entry.mention || entry.kind === "whisper";
    this.change({ what: "conversations" });
  }

  /** It is found to mention one, now that it is opened. */
  noteMention(): void {
    if (!this.unread || this.mentioned) return;
    this.mentioned = true;
    this.change({ what: "conversations" });
  }

  /** It is looked at. `opened`: it was not the one that was looked at before. */
  read(opened: boolean): void {
    if (!this.unread && !(opened && this.firstUnread)) return;
    this.firstUnread = this.unreadFrom;
    this.unreadFrom = "";
    this.unread = 0;
    this.mentioned = false;
    this.change({ what: "conversations" });
  }

  // -- people --------------------------------------------------------------------------------------------

  /** Whispers are between two. `own`: one's name, which may be the same, and is "" before there is one. */
  pair(own: string): void {
    const both = new Map([this.address, own].map((name) => [nameKey(name), name]));
    both.delete("");
    const people = [...both.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
    this.setPeople(people, people.length, "");
  }

  setPeople(people: readonly string[], total: number, topic: string): void {
    this.people = people.slice(0, MOST_PEOPLE).map(visible);
    this.total = total;
    this.change({ what: "people", id: this.id });
    if (visible(topic) === this.topic) return;
    this.topic = visible(topic);
    this.change({ what: "conversations" });
  }

  // ------------------------------------------------------------------------------------------------------

  private sawSealed(words: boolean): void {
    this.hasSealed = true;
    this.lock(words);
  }

  /** Beside what was found last, or from the end, as it is the newest that change. */
  private find(key: string): number {
    let at = this.found + 1;
    if (this.entries[at]?.key !== key) at = this.found;
    if (this.entries[at]?.key !== key) at = this.entries.length - 1;
    while (at >= 0 && this.entries[at]?.key !== key) at -= 1;
    this.found = at;
    return at;
  }
}

export function entryOf(key: string, kind: Entry["kind"], more: Partial<Entry>): Entry {
  return {
    key,
    kind,
    from: "",
    to: "",
    names: [],
    body: "",
    at: 0,
    seq: 0,
    mine: false,
    state: "sent",
    problem: "",
    sealed: "no",
    cipher: "",
    mention: false,
    old: false,
    ...more,
  };
}

/** What is shown of a body. Nobody can act in another's name: the one in the body has to be the author's. */
function said(message: Pick<Message, "from" | "to">, body: string): Pick<Entry, "kind" | "body"> {
  const acts = `* ${message.from} `;
  if (!message.to && body.startsWith(acts))
    return { kind: "action", body: visibleLines(body.slice(acts.length)) };
  return { kind: message.to ? "whisper" : "said", body: visibleLines(body) };
}

export { said as shownBody };
