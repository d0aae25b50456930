// One conversation as the view shows it: its entries in order, the unread mark, its people. It knows no
// protocol, and reports each change.
//
// The first `confirmedCount` entries have their final place; below them are the user's own messages that the
// server has not ordered yet. A page may stay open for weeks: `trim` removes the oldest entries, many at a
// time. The page can load old entries of a room again.

import type { Change, Conversation, Entry, Phrase } from "./api.ts";
import type { Decrypted } from "./e2ee.ts";
import { isEncrypted } from "./encryption.ts";
import type { Message } from "./events.ts";
import { escapeControls, escapeLines, mentions, nameKey, phraseText, SERVER_NAME } from "./text.ts";

const PASSPHRASE_NEEDED = "encrypted; enter the passphrase to read it";
const NOT_ENCRYPTED = "not encrypted";
const MAX_PEOPLE = 1000;
const MAX_NAMES_PER_ENTRY = 100; // names in one entry of joins or leaves
const MAX_ENTRIES = 20_000; // entries to keep
const TRIM_STEP = 2_000; // entries above that before a trim, because the view lays out all of them again
const READING_SLACK = 20_000; // entries above that while the user reads further up, where nothing may vanish

export class ConversationState implements Conversation {
  readonly entries: Entry[] = [];
  topic = "";
  more = false;
  hasHistory = false; // a page of history arrived
  unread = 0;
  mentions = 0;
  firstUnread = "";
  people: readonly string[] = [];
  total = 0;
  locked: Conversation["locked"] = "no";
  name: string; // safe to display; `address` is as the server spells it
  first = 0; // the page has not loaded the history below this seq
  readonly undecrypted = new Map<string, Message>(); // by key of the entry
  readonly unreadWhispers = new Map<string, Message>(); // by key of the entry
  private confirmedCount = 0;
  private unreadFrom = ""; // key of the first unread entry
  private epoch = 0; // number of times that the server renumbered its messages
  private keyCount = 0; // number of keys made for entries without a seq
  private historyCount = 0; // entries of history that arrived since the last trim
  private historyStart = ""; // key of the first entry of the server's new history; "": none
  private hasEncrypted = false;
  // This browser encrypted messages here: send nothing unencrypted until the user forgets the passphrase.
  requiresPassphrase = false;
  private lastFound = 0; // index of the entry that was found last

  constructor(
    readonly id: string,
    readonly kind: Conversation["kind"],
    public address: string,
    private readonly emit: (change: Change) => void,
  ) {
    this.name = escapeControls(address);
  }

  rename(address: string): void {
    if (address === this.address) return;
    this.address = address;
    this.name = escapeControls(address);
    this.emit({ type: "conversations" });
  }

  // -- entries -------------------------------------------------------------------------------------------

  newKey(): string {
    this.keyCount += 1;
    return `n${this.keyCount}`;
  }

  keyOf(message: Message): string {
    return message.seq && this.kind === "room" ? `${this.epoch}.${message.seq}` : this.newKey();
  }

  /** Add a new entry at its final place. */
  add(entry: Entry): void {
    const at = this.confirmedCount;
    this.confirmedCount += 1;
    this.entries.splice(at, 0, entry);
    this.emit({ type: "added", id: this.id, entries: [entry], at });
  }

  /** Add a message of the user, which has no final place yet. */
  addPending(entry: Entry): void {
    this.entries.push(entry);
    this.emit({ type: "added", id: this.id, entries: [entry], at: this.entries.length - 1 });
  }

  /** Insert history before the first entry. */
  prependHistory(entries: readonly Entry[]): void {
    if (!entries.length) return;
    this.entries.unshift(...entries);
    this.confirmedCount += entries.length;
    this.historyCount += entries.length;
    this.emit({ type: "added", id: this.id, entries, at: 0 });
  }

  get(key: string): Entry | undefined {
    return this.entries[this.find(key)];
  }

  /** The last entry that has its final place. */
  get lastConfirmed(): Entry | undefined {
    return this.entries[this.confirmedCount - 1];
  }

  replace(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    const before = this.entries[at];
    if (!before) return;
    const entry = { ...before, ...changed };
    this.entries[at] = entry;
    this.emit({ type: "changed", id: this.id, entry, at });
  }

  /** Move a pending entry to its final place, below all that have theirs. */
  confirm(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    if (at < this.confirmedCount) return this.replace(key, changed);
    const moved = at > this.confirmedCount;
    if (moved) this.entries.splice(this.confirmedCount, 0, ...this.entries.splice(at, 1));
    this.confirmedCount += 1;
    if (!moved) return this.replace(key, changed);
    this.entries[this.confirmedCount - 1] = {
      ...(this.entries[this.confirmedCount - 1] as Entry),
      ...changed,
    };
    this.emit({ type: "reset", id: this.id });
  }

  /** Make an entry pending again: the user sends it again. */
  moveToPending(key: string, changed: Partial<Entry>): void {
    const at = this.find(key);
    const [entry] = this.entries.splice(at, 1);
    if (!entry) return;
    if (at < this.confirmedCount) this.confirmedCount -= 1;
    this.entries.push({ ...entry, ...changed });
    this.emit({ type: "reset", id: this.id });
  }

  joinedOrLeft(kind: "joined" | "left", people: readonly string[], at: number): void {
    const last = this.lastConfirmed;
    const shown = people.map(escapeControls);
    if (last?.kind === kind && last.names.length < MAX_NAMES_PER_ENTRY)
      this.replace(last.key, { names: [...new Set([...last.names, ...shown])] });
    else this.add(newEntry(this.newKey(), kind, { names: shown, at }));
  }

  notice(text: string | Phrase, at: number, kind: "notice" | "gap" = "notice"): void {
    const phrase = typeof text === "string" ? [] : text;
    const body = typeof text === "string" ? text : phraseText(text);
    this.add(newEntry(this.newKey(), kind, { body, phrase, at }));
  }

  /** The same numbers will come again: the server was restored from a backup, or started a new history. */
  startEpoch(): void {
    this.epoch += 1;
  }

  /** The server started a new history, which does not contain the entries above this line. */
  startNewHistory(at: number): void {
    this.more = false;
    this.first = 0;
    this.notice("The server has started a new history", at);
    this.historyStart = this.lastConfirmed?.key ?? "";
  }

  /**
   * Remove the oldest entries if there are too many; return their keys. `isAtEnd`: the user is not reading
   * above.
   */
  trim(isAtEnd: boolean): string[] {
    const limit = isAtEnd ? MAX_ENTRIES + TRIM_STEP : MAX_ENTRIES + READING_SLACK + this.historyCount;
    if (this.entries.length <= limit) return [];
    const removed = this.entries.splice(0, Math.min(this.confirmedCount, this.entries.length - MAX_ENTRIES));
    if (!removed.length) return [];
    const keys = new Set(removed.map((entry) => entry.key));
    this.confirmedCount -= removed.length;
    this.historyCount = this.lastFound = 0;
    for (const key of keys) {
      this.undecrypted.delete(key);
      this.unreadWhispers.delete(key); // unread and unacknowledged: another page will get it
    }
    if (keys.has(this.historyStart)) this.historyStart = "";
    if (keys.has(this.firstUnread)) this.firstUnread = "";
    if (keys.has(this.unreadFrom)) this.unreadFrom = this.entries[0]?.key ?? "";
    if (this.kind === "room" && !this.historyStart) {
      // After a restore from a backup, the lowest number need not be the first.
      const seqs = this.entries.flatMap(({ seq }) => seq || []);
      this.first = seqs.length
        ? seqs.reduce((least, seq) => Math.min(least, seq))
        : removed.reduce((first, { seq }) => Math.max(first, seq + 1), this.first);
      this.more = this.first > 1;
    }
    this.emit({ type: "reset", id: this.id });
    return [...keys];
  }

  /** Return the entry for a message. */
  makeEntry(
    message: Message,
    ownName: string,
    key: string,
    hasPassphrase: boolean,
    isOwn: boolean,
    isHistory: boolean,
  ): Entry {
    const { seq, at } = message;
    const to = escapeControls(message.to);
    const base = newEntry(key, message.to ? "whisper" : "said", {
      from: escapeControls(message.from),
      to,
      at,
      seq,
      isOwn: isOwn,
      isHistory: isHistory,
    });
    if (isEncrypted(message)) {
      this.undecrypted.set(key, message);
      this.noteEncrypted(hasPassphrase);
      return hasPassphrase
        ? { ...base, encryption: "decrypting" }
        : { ...base, encryption: "unreadable", problem: PASSPHRASE_NEEDED };
    }
    // docs/encryption.rst: the text of another cipher is never shown. Anyone can claim one.
    if (message.cipher) return { ...base, cipher: escapeControls(message.cipher) };
    const isUnexpectedlyClear = hasPassphrase && message.from !== SERVER_NAME;
    const problem = isUnexpectedlyClear ? NOT_ENCRYPTED : "";
    const mention = !isOwn && mentions(message.body, ownName);
    return { ...base, ...displayedBody(message, message.body), problem, mention };
  }

  /** Try to decrypt the undecrypted entries (with a passphrase), or mark them as unreadable (without). */
  retryDecryption(hasPassphrase: boolean): void {
    if (!this.undecrypted.size) return;
    const changed = hasPassphrase
      ? ({ encryption: "decrypting", problem: "" } as const)
      : ({ encryption: "unreadable", problem: PASSPHRASE_NEEDED } as const);
    this.entries.forEach((entry, at) => {
      if (this.undecrypted.has(entry.key)) this.entries[at] = { ...entry, ...changed };
    });
    this.emit({ type: "reset", id: this.id });
  }

  /** Replace an undecrypted entry by its decrypted form. */
  applyDecrypted(key: string, decrypted: Decrypted, ownName: string): Entry | undefined {
    const message = this.undecrypted.get(key);
    const entry = this.get(key);
    if (!message || !entry) return undefined;
    if (!("text" in decrypted)) {
      if (!decrypted.canRetry) this.undecrypted.delete(key);
      this.replace(key, { encryption: "unreadable", problem: decrypted.problem });
      return undefined;
    }
    this.undecrypted.delete(key);
    const mention = !entry.isOwn && mentions(decrypted.text, ownName);
    this.replace(key, { ...displayedBody(message, decrypted.text), encryption: "yes", problem: "", mention });
    return this.get(key);
  }

  /** Update the lock. */
  updateLock(hasPassphrase: boolean, isPromised = this.requiresPassphrase): void {
    const locked = hasPassphrase ? "unlocked" : this.hasEncrypted || isPromised ? "locked" : "no";
    if (locked === this.locked && isPromised === this.requiresPassphrase) return;
    this.locked = locked;
    this.requiresPassphrase = isPromised;
    this.emit({ type: "conversations" });
  }

  // -- reading -------------------------------------------------------------------------------------------

  /** Count a new entry that the user has not seen. */
  countUnread(entry: Entry, message: Message): void {
    if (message.to && message.seq) this.unreadWhispers.set(entry.key, message);
    if (!this.unread) this.unreadFrom = entry.key;
    this.unread += 1;
    if (entry.mention || entry.kind === "whisper") this.mentions += 1;
    this.emit({ type: "conversations" });
  }

  /** Record that a decrypted message mentions the user. */
  noteMention(): void {
    if (this.mentions >= this.unread) return; // it has been read since
    this.mentions += 1;
    this.emit({ type: "conversations" });
  }

  /** Mark as read. `justOpened`: another conversation was open before. */
  markRead(justOpened: boolean): void {
    if (!this.unread && !(justOpened && this.firstUnread)) return;
    this.firstUnread = this.unreadFrom;
    this.unreadFrom = "";
    this.unread = 0;
    this.mentions = 0;
    this.emit({ type: "conversations" });
  }

  // -- people --------------------------------------------------------------------------------------------

  /**
   * Set the two people of direct messages. `ownName` may be the same name; it is "" before the first welcome.
   */
  setPair(ownName: string): void {
    const names = new Map([this.address, ownName].map((name) => [nameKey(name), name]));
    names.delete("");
    const people = [...names.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
    this.setPeople(people, people.length, "");
  }

  setPeople(people: readonly string[], total: number, topic: string): void {
    this.people = people.slice(0, MAX_PEOPLE).map(escapeControls);
    this.total = total;
    this.emit({ type: "people", id: this.id });
    if (escapeControls(topic) === this.topic) return;
    this.topic = escapeControls(topic);
    this.emit({ type: "conversations" });
  }

  // ------------------------------------------------------------------------------------------------------

  private noteEncrypted(hasPassphrase: boolean): void {
    this.hasEncrypted = true;
    this.updateLock(hasPassphrase);
  }

  /** Search near the last result, then from the end: mostly the newest entries change. */
  private find(key: string): number {
    let at = this.lastFound + 1;
    if (this.entries[at]?.key !== key) at = this.lastFound;
    if (this.entries[at]?.key !== key) at = this.entries.length - 1;
    while (at >= 0 && this.entries[at]?.key !== key) at -= 1;
    this.lastFound = at;
    return at;
  }
}

export function newEntry(key: string, kind: Entry["kind"], more: Partial<Entry>): Entry {
  return {
    key,
    kind,
    from: "",
    to: "",
    names: [],
    body: "",
    phrase: [],
    at: 0,
    seq: 0,
    isOwn: false,
    state: "sent",
    problem: "",
    encryption: "no",
    cipher: "",
    mention: false,
    isHistory: false,
    ...more,
  };
}

/**
 * Return the displayed form of a body. An action must carry its author's name, so that nobody can fake one.
 */
function displayedBody(message: Pick<Message, "from" | "to">, body: string): Pick<Entry, "kind" | "body"> {
  const prefix = `* ${message.from} `;
  if (!message.to && body.startsWith(prefix))
    return { kind: "action", body: escapeLines(body.slice(prefix.length)) };
  return { kind: message.to ? "whisper" : "said", body: escapeLines(body) };
}

export { displayedBody as shownBody };
