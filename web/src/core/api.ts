// What the core (which knows the protocol, and no page) offers to the view (which knows the page, and no protocol).
// The view reads this state and calls these methods; it never sees a message of the wire.

/** Where the connection is in its life. */
export type LinkState =
  | { state: "idle" } // nobody has said a name yet
  | { state: "connecting"; attempt: number } // the first is 1
  | { state: "online" }
  | { state: "waiting"; attempt: number; until: number; reason: string } // until: ms of Date.now(); then it tries again
  | { state: "stopped"; reason: string; code: string; canRetry: boolean }; // code: of `error`, or reason of `bye`; again: a
// click may try it again as it is (replaced, kicked...). "password-needed", "wrong-password", "too-many-tries",
// "name-taken" and "bad-name" need another start() with a password or another name.

export type EntryKind =
  | "said" // somebody said it in the room
  | "action" // the same with /me: body is without the /me
  | "whisper" // from or to one person alone
  | "joined" // names came; body is empty
  | "left"
  | "topic" // from has set it; body is the topic
  | "gap" // messages are missing here; body says it in words
  | "notice"; // of the page's own: the answer of a command, an error; body says it, and may have several lines

export interface Entry {
  readonly key: string; // unique in its conversation, and stays the same from pending to sent
  readonly kind: EntryKind;
  readonly from: string;
  readonly to: string; // whispers only
  readonly names: readonly string[]; // joined and left only
  readonly body: string; // what was said, in the clear where it could be opened; hostile text: never markup.
  // What would act on its surroundings, as controls and turns of direction, has been made visible, here and in names.
  readonly at: number; // seconds of Unix time; of pending ones when it was typed
  readonly seq: number; // 0: none (yet)
  readonly isOwn: boolean;
  readonly state: "pending" | "sent" | "failed"; // of mine; everything else is "sent"
  readonly problem: string; // why it failed, or why it cannot be read ("" if all is well)
  readonly encryption: "no" | "yes" | "decrypting" | "unreadable"; // end-to-end encryption: "decrypting": the worker is at it
  readonly cipher: string; // by what it is encrypted that is not known here, so that body is as it came; "": by nothing
  readonly mention: boolean; // my name is in it
  readonly isHistory: boolean; // it came as history, and not as something new
}

/** A room, or the whispers with one person. */
export interface Conversation {
  readonly id: string; // "#engine-room", "@michael": stable, unique
  readonly kind: "room" | "person";
  readonly name: string;
  readonly topic: string;
  readonly entries: readonly Entry[]; // in order; the array grows in place, and the oldest go: see Change
  readonly more: boolean; // there are older ones: call older()
  readonly unread: number; // said since it was last looked at
  readonly mentioned: boolean; // one of these mentions me, or is a whisper
  readonly firstUnread: string; // key of the first entry that had not been read when it was last opened; "": none
  readonly people: readonly string[]; // sorted; at most 1,000
  readonly total: number; // how many are there
  readonly locked: "no" | "locked" | "unlocked"; // "locked": something was encrypted there, and there is no passphrase
  readonly requiresPassphrase: boolean; // one has said something encrypted there: while "locked", nothing can be said in the clear
}

export type Change =
  | { type: "link" }
  | { type: "conversations" } // one came, went, or its unread mark, topic or lock changed
  | { type: "people"; id: string }
  | { type: "added"; id: string; entries: readonly Entry[]; at: number } // inserted at that index, live=new at the end
  | { type: "changed"; id: string; entry: Entry; at: number } // this one is another now (acknowledged, opened)
  | { type: "reset"; id: string } // all of its entries may be others now, or the oldest are gone
  | { type: "alert"; id: string; entry: Entry }; // a mention or a whisper that came just now: for a notification

export interface SignIn {
  name: string;
  password?: string;
}

export interface Chat {
  readonly name: string; // as the server has cleaned it; "" before the first welcome
  readonly server: string; // what the server calls itself
  readonly link: LinkState;
  readonly unsentCount: number; // messages that were said here and are not acknowledged: with the page, they would be gone
  readonly conversations: readonly Conversation[]; // rooms in order of joining, the lobby first, then people
  readonly current: string; // id of the conversation that is looked at
  /** For /help and completion; operators: the server does it for those alone. */
  readonly commands: readonly { name: string; usage: string; help: string; operatorsOnly: boolean }[];
  subscribe(listener: (change: Change) => void): () => void;
  conversation(id: string): Conversation | undefined;
  start(signIn: SignIn): void; // connect, and stay connected
  reconnect(): void; // connect now (from "waiting", or "stopped" where again is true)
  stop(): void; // say goodbye
  open(id: string): void; // look at that one: it becomes current, and is read as long as watching() is true
  setWatching(isVisible: boolean): void; // whether the page is visible and scrolled to the end
  /** Take a line as it was typed into the current conversation: a message or a /command. "" if it was taken, else
   * why not, and the view keeps the line in the field. */
  submit(line: string): string;
  /** What could stand instead of the word before `caret`: commands, names, rooms. */
  complete(line: string, caret: number): { start: number; end: number; candidates: readonly string[] };
  loadOlder(id: string): Promise<void>; // fetch the page of history before the first entry
  /** The passphrase for that conversation, or (id "") for all; "" forgets it. It never leaves the page.
   * It fails with the reason, where nothing can be encrypted. */
  setPassphrase(id: string, passphrase: string): Promise<void>;
  retry(id: string, key: string): void; // say a failed one again
}
