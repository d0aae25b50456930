// The interface between the core (knows the protocol, not the page) and the view (knows the page, not the
// protocol). The view reads this state and calls these methods. It never sees a protocol message.

/** The state of the connection. */
export type LinkState =
  | { state: "idle" } // the user has not signed in yet
  | { state: "connecting"; attempt: number } // the first is 1
  | { state: "online" }
  | { state: "waiting"; attempt: number; until: number; reason: string } // until: Date.now() of the next attempt
  // code: the code of `error`, or the reason of `bye`. canRetry: reconnect() may work as it is ("replaced",
  // "kicked"...). "password-needed", "wrong-password", "too-many-tries", "name-taken" and "bad-name" need
  // another start().
  | { state: "stopped"; reason: string; code: string; canRetry: boolean };

export type EntryKind =
  | "said" // a message in the room
  | "action" // a message sent with /me; the body does not include the /me
  | "whisper" // a direct message
  | "joined" // users joined; body is empty
  | "left"
  | "topic" // `from` set the topic; body is the topic
  | "gap" // messages are missing here; body is the explanation
  | "notice"; // made by the page: the reply to a command, or an error. The body may have several lines

/**
 * A text of the page in pieces. The view shows names, and what users wrote, as elements, so that they cannot pass for
 * text of the page.
 */
export type Phrase = readonly (string | { readonly name: string } | { readonly quote: string })[];

export interface Entry {
  readonly key: string; // unique in its conversation; stays the same from pending to sent
  readonly kind: EntryKind;
  readonly from: string;
  readonly to: string; // direct messages only
  readonly names: readonly string[]; // joined and left only
  readonly body: string; // plain text, decrypted if possible. Untrusted: never treat it as markup.
  // Control characters and text direction marks are already escaped, here and in names.
  readonly phrase: Phrase; // notices with texts of users: the body, in pieces; empty: it has none
  readonly at: number; // seconds of Unix time; while pending, the time of typing
  readonly seq: number; // 0: no number (yet)
  readonly isOwn: boolean;
  readonly state: "pending" | "sent" | "failed"; // of the user's own messages; "sent" for all others
  readonly problem: string; // why it failed, or why it cannot be read; "": no problem
  readonly encryption: "no" | "yes" | "decrypting" | "unreadable"; // end-to-end encryption
  readonly cipher: string; // a cipher that this client does not know: the body is raw; "": none
  readonly mention: boolean; // it mentions the user
  readonly isHistory: boolean; // loaded from the history, not new
}

/** A room, or the direct messages with one person. */
export interface Conversation {
  readonly id: string; // "#engine-room", "@michael": stable, unique
  readonly kind: "room" | "person";
  readonly name: string;
  readonly topic: string;
  // In order; the array grows in place, and the oldest are removed: see Change.
  readonly entries: readonly Entry[];
  readonly more: boolean; // the server has older ones: call loadOlder()
  readonly unread: number; // messages since the user last looked
  readonly mentions: number; // unread messages that mention the user, or are direct messages
  readonly firstUnread: string; // key of the first unread entry when the user last opened it; "": none
  readonly people: readonly string[]; // sorted; at most 1,000
  readonly total: number; // number of people there
  readonly locked: "no" | "locked" | "unlocked"; // "locked": it has encrypted messages, and there is no passphrase
  // This browser has sent encrypted messages here: while "locked", it sends nothing.
  readonly requiresPassphrase: boolean;
}

export type Change =
  | { type: "link" }
  | { type: "conversations" } // one appeared or went, or its unread count, topic or lock changed
  | { type: "people"; id: string }
  | { type: "added"; id: string; entries: readonly Entry[]; at: number } // inserted at that index; new messages come at the end
  | { type: "changed"; id: string; entry: Entry; at: number } // this entry was replaced (acknowledged, decrypted)
  | { type: "reset"; id: string } // any of its entries may have changed, or the oldest are gone
  | { type: "alert"; id: string; entry: Entry }; // a new mention or direct message: show a notification

export interface SignIn {
  name: string;
  password?: string;
}

export interface Chat {
  readonly name: string; // as the server cleaned it; "" before the first welcome
  readonly server: string; // the server's name for itself
  readonly link: LinkState;
  // Messages that the server has not acknowledged: closing the page would lose them.
  readonly unsentCount: number;
  readonly conversations: readonly Conversation[]; // rooms in order of joining, the lobby first, then people
  readonly current: string; // id of the open conversation
  /** For /help and completion. `operatorsOnly`: the server rejects it from anyone else. */
  readonly commands: readonly { name: string; usage: string; help: string; operatorsOnly: boolean }[];
  subscribe(listener: (change: Change) => void): () => void;
  conversation(id: string): Conversation | undefined;
  start(signIn: SignIn): void; // connect, and stay connected
  reconnect(): void; // connect now (from "waiting", or from "stopped" where canRetry is true)
  stop(): void; // sign out
  open(id: string): void; // make that conversation the current one; it counts as read while setWatching(true)
  setWatching(isVisible: boolean): void; // whether the page is visible and scrolled to the end
  /** Handle a line that the user typed into the current conversation: a message or a /command. Return "" if it was
   * accepted. Otherwise return the problem; the view keeps the line in the field. */
  submit(line: string): string;
  /** Return the candidates that may replace the word before `caret`: commands, names, rooms. */
  complete(line: string, caret: number): { start: number; end: number; candidates: readonly string[] };
  loadOlder(id: string): Promise<void>; // load the page of history before the first entry
  /** Set the passphrase of one conversation, or (id "") of all; "" forgets it. It never leaves the page.
   * Reject with the reason if encryption is impossible. */
  setPassphrase(id: string, passphrase: string): Promise<void>;
  retry(id: string, key: string): void; // send a failed message again
}
