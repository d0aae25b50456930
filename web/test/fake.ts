// Fake chat without a server, to look at the view and to test it: the same interface, with lively and hostile
// data, and the browser's clock. It answers like the core, but guarantees no delivery.

import type { Change, Chat, Conversation, Entry, LinkState, SignIn } from "../src/core/api.ts";
import { escapeLines } from "../src/core/text.ts";

export const HOSTILE = [
  "<img src=x onerror=alert(1)>",
  "<script>document.title='pwned'</script>",
  "javascript:alert(1) and data:text/html,<b>x</b>",
  'https://example.com/"onmouseover="alert(1)',
  "https://google.com@evil.example/login",
  "https://аpple.com/ is written with a Cyrillic а",
  "\u202Egnp.exe\u202C is turned around",
  "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324a\u0308\u0300l\u0300\u0301g\u0301o\u0300",
  "a".repeat(400),
  "bell \u0007 escape \u001b[31mred\u001b[0m and \u0080",
  "`".repeat(2000),
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the text is meant literally
  "&lt;b&gt; &amp; {{constructor}} ${1+1} %s \\u0041",
];

const NAMES = [
  "Venkat",
  "Michael",
  "Priya",
  "Ωmega",
  "مريم",
  "printer-3",
  "Anna Lena",
  "李雷",
  "O'Brien",
  "שרה",
];
const SAID = [
  "Hey! Please introduce yourself...",
  "Hey Guys! This is Michael here.",
  "The build is green again: https://ci.example/build/4711?branch=main (second try).",
  "Has anyone seen the key of the lab? It was on the hook next to the door this morning, and now it is not, and the people from the other course want to get in at ten.",
  "ok",
  "Try `selchat serve --port=33000` first.",
  "Here is what it says:\n```python\nfor key, mask in selector.select(timeout=1):\n    key.data(mask)  # callbacks are stored as data\n```\nSeen that before?",
  "صباح الخير، هل يعمل الخادم اليوم؟",
  "שלום לכולם, מה שלומכם?",
  "今天下午三点开会，请大家准时参加。",
  "👍",
  "It is at (https://en.wikipedia.org/wiki/Select_(Unix)), near the end.",
  "1. open the port\n2. look at the log\n3. have tea",
];

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Room = Writable<Conversation> & { entries: Entry[]; people: string[] };

export interface Options {
  entries?: number; // in the lobby
  people?: number;
  live?: boolean; // users write now and then
  password?: string; // the password that start() must have
  ackAfter?: number; // ms
}

export class Fake implements Chat {
  name = "";
  server = "Lab 3";
  unsentCount = 0;
  link: LinkState = { state: "idle" };
  current = "#lobby";
  conversations: Room[] = [];
  seen = false;
  isRejecting = false; // reject messages from now on
  readonly commands = [
    { name: "/join", usage: "/join ROOM", help: "go into a room, or back to one" },
    { name: "/part", usage: "/part [ROOM]", help: "leave a room" },
    { name: "/rooms", usage: "/rooms", help: "which rooms there are" },
    { name: "/users", usage: "/users [ROOM]", help: "who is there" },
    { name: "/msg", usage: "/msg NAME TEXT", help: "say it to one person alone" },
    { name: "/me", usage: "/me TEXT", help: "say what you do" },
    { name: "/topic", usage: "/topic [TEXT]", help: "show or set the topic of the room; /topic - for none" },
    { name: "/history", usage: "/history [N]", help: "load the last N messages of the room" },
    {
      name: "/search",
      usage: "/search WORDS",
      help: "show the messages of the room that contain all these words",
    },
    { name: "/help", usage: "/help", help: "this list" },
    { name: "/quit", usage: "/quit", help: "leave" },
    { name: "/kick", usage: "/kick NAME", help: "remove a user from the chat", operatorsOnly: true },
  ].map((command) => ({ operatorsOnly: false, ...command }));
  #listeners = new Set<(change: Change) => void>();
  #count = 0;
  #random = 42;
  #historyPages = 5; // pages of history left for loadOlder()

  constructor(readonly options: Options = {}) {
    const people = Array.from({ length: options.people ?? 40 }, (_, i) => NAMES[i] ?? `Guest ${i}`);
    const lobby = this.#room("#lobby", "room", "lobby", people);
    lobby.topic = "Welcome to the lab. Tea at four, https://lab.example/tea";
    lobby.more = true;
    lobby.entries = this.history(options.entries ?? 2000);
    const engine = this.#room("#engine-room", "room", "engine-room", people.slice(0, 4));
    engine.locked = "locked";
    const now = Date.now() / 1000;
    engine.entries = [
      this.entry({ body: "", encryption: "unreadable", problem: "there is no passphrase", at: now - 400 }),
      this.entry({ from: "Priya", body: "this one was not encrypted", at: now - 300 }),
      this.entry({ from: "Priya", body: "", encryption: "decrypting", at: now - 200 }),
    ];
    const long = this.#room(
      "#a-room-with-a-very-long-name-indeed",
      "room",
      "a-room-with-a-very-long-name-indeed",
      people,
    );
    long.unread = 1234;
    const hostile = this.#room("#hostile", "room", "hostile", [
      "<b>bold</b>",
      '"><script>alert(1)</script>',
      ...people.slice(0, 3),
    ]);
    hostile.topic = "<img src=x onerror=alert(1)>";
    hostile.entries = HOSTILE.map((body, i) =>
      this.entry({ body, from: i % 2 ? "<b>bold</b>" : "Venkat", at: now - 900 + i }),
    );
    hostile.unread = 3;
    hostile.mentions = 1;
    const michael = this.#room("@Michael", "person", "Michael", ["Michael"]);
    michael.entries = [
      this.entry({
        kind: "whisper",
        from: "Michael",
        to: "Ada",
        body: "Do you have a minute?",
        at: now - 3600,
      }),
      this.entry({ kind: "whisper", from: "Ada", to: "Michael", isOwn: true, body: "Sure.", at: now - 3500 }),
    ];
    michael.unread = 1;
    michael.mentions = 1;
    michael.firstUnread = michael.entries[0]?.key ?? "";
  }

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }

  conversation(id: string): Room | undefined {
    return this.conversations.find((one) => one.id === id);
  }

  start({ name, password }: SignIn): void {
    this.#link({ state: "connecting", attempt: 1 });
    setTimeout(() => {
      const wanted = this.options.password;
      if (wanted && password !== wanted) {
        const code = password ? "wrong-password" : "password-needed";
        return this.#link({ state: "stopped", reason: "a password, please", code, canRetry: false });
      }
      if (name.toLowerCase() === "taken")
        return this.#link({
          state: "stopped",
          reason: "someone else has it",
          code: "name-taken",
          canRetry: false,
        });
      this.name = name;
      for (const one of this.conversations)
        if (one.kind === "room" && !one.people.includes(name)) {
          one.people = [...one.people, name].sort();
          one.total = one.people.length;
        }
      this.#link({ state: "online" });
      if (this.options.live) this.#live();
    }, 60);
  }

  reconnect(): void {
    this.#link({ state: "connecting", attempt: 2 });
    setTimeout(() => this.#link({ state: "online" }), 300);
  }

  stop(): void {
    this.#link({ state: "stopped", reason: "you left", code: "left", canRetry: true });
  }

  /** Lose the connection; the next attempt is in that many seconds. */
  loseConnection(seconds = 5): void {
    this.#link({
      state: "waiting",
      attempt: 2,
      until: Date.now() + seconds * 1000,
      reason: "The connection was lost",
    });
  }

  stopWith(code: string, why: string, canRetry: boolean): void {
    this.#link({ state: "stopped", code, reason: why, canRetry: canRetry });
  }

  open(id: string): void {
    this.current = id;
    const one = this.conversation(id);
    if (one) {
      one.firstUnread = one.unread
        ? (one.entries.at(-Math.min(one.unread, one.entries.length))?.key ?? "")
        : "";
      if (this.seen) this.#read(one);
    }
    this.emit({ type: "conversations" });
  }

  setWatching(isVisible: boolean): void {
    this.seen = isVisible;
    const one = this.conversation(this.current);
    if (isVisible && one?.unread) this.#read(one);
  }

  submit(line: string): string {
    if (line.length > 8000) return `This is too long: ${line.length} characters, and 8,000 is the most.`;
    if (/^\/nosuch/.test(line))
      return "Unknown command /nosuch. Type /help for a list, or //nosuch to send it as a message.";
    if (line.startsWith("/join ")) {
      const name = line.slice(6).trim();
      if (!this.conversation(`#${name}`)) this.#room(`#${name}`, "room", name, [this.name]);
      this.open(`#${name}`);
      return "";
    }
    if (line === "/rooms") {
      this.add(this.current, [
        this.entry({
          kind: "notice",
          from: "",
          body: "Rooms (2); you are in those with a *:\n* lobby        40 here  Welcome to the lab\n  engine-room   4 here",
        }),
      ]);
      return "";
    }
    const one = this.conversation(this.current);
    if (!one) return "You are in no room.";
    const kind = one.kind === "person" ? "whisper" : line.startsWith("/me ") ? "action" : "said";
    const body = line.startsWith("/me ") ? line.slice(4) : line.startsWith("//") ? line.slice(1) : line;
    const sealed = one.locked === "unlocked" ? "yes" : "no";
    const pending = this.entry({
      kind,
      from: this.name,
      to: one.kind === "person" ? one.name : "",
      body,
      isOwn: true,
      state: "pending",
      encryption: sealed,
    });
    this.add(one.id, [pending]);
    this.#settle(one.id, pending);
    return "";
  }

  complete(line: string, caret: number): { start: number; end: number; candidates: readonly string[] } {
    const before = line.slice(0, caret);
    const start = before.lastIndexOf(" ") + 1;
    const word = before.slice(start).toLowerCase();
    const all =
      start === 0 && word.startsWith("/")
        ? this.commands.map(({ name }) => name)
        : (this.conversation(this.current)?.people ?? []);
    return {
      start,
      end: caret,
      candidates: word ? all.filter((one) => one.toLowerCase().startsWith(word)) : [],
    };
  }

  async loadOlder(id: string): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const one = this.conversation(id);
    if (!one?.more) return;
    const first = one.entries[0]?.at ?? Date.now() / 1000;
    const page = this.history(100, first - 60);
    one.entries.unshift(...page);
    one.more = --this.#historyPages > 0;
    this.emit({ type: "added", id, entries: page, at: 0 });
  }

  async setPassphrase(id: string, passphrase: string): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 800));
    if (passphrase === "wrong") throw new Error("This passphrase opens nothing here.");
    const one = this.conversation(id);
    if (!one) return;
    one.locked = passphrase ? "unlocked" : "locked";
    one.entries.forEach((entry, at) => {
      if (entry.encryption === "no") return;
      const opened: Entry = {
        ...entry,
        encryption: passphrase ? "yes" : "unreadable",
        body: passphrase ? "It can be read now." : "",
        problem: "",
      };
      one.entries[at] = opened;
      this.emit({ type: "changed", id: one.id, entry: opened, at });
    });
    this.emit({ type: "conversations" });
  }

  retry(id: string, key: string): void {
    const one = this.conversation(id);
    const entry = one?.entries.find((other) => other.key === key);
    if (!entry) return;
    const pending: Entry = { ...entry, state: "pending", problem: "" };
    this.#put(id, pending);
    this.#settle(id, pending);
  }

  /** Add entries of other users. */
  add(id: string, entries: Entry[]): void {
    const one = this.conversation(id);
    if (!one) return;
    const at = one.entries.length;
    one.entries.push(...entries);
    if (!(id === this.current && this.seen)) {
      const said = entries.filter(
        (entry) => !entry.isOwn && entry.kind !== "joined" && entry.kind !== "left",
      );
      one.unread += said.length;
      one.mentions += said.filter((entry) => entry.mention || entry.kind === "whisper").length;
    }
    this.emit({ type: "added", id, entries, at });
    this.emit({ type: "conversations" });
    for (const entry of entries)
      if (entry.mention || (entry.kind === "whisper" && !entry.isOwn))
        this.emit({ type: "alert", id, entry });
  }

  entry(some: Partial<Entry>): Entry {
    const seq = ++this.#count;
    return {
      key: `k${seq}`,
      kind: "said",
      from: "Venkat",
      to: "",
      names: [],
      phrase: [],
      at: Date.now() / 1000,
      seq,
      isOwn: false,
      state: "sent",
      problem: "",
      encryption: "no",
      cipher: "",
      mention: false,
      isHistory: false,
      ...some,
      body: escapeLines(some.body ?? ""),
    };
  }

  history(count: number, until = Date.now() / 1000): Entry[] {
    const found: Entry[] = [];
    let at = until - count * 55;
    let from = "Venkat";
    for (let i = 0; i < count; i++) {
      at += this.#roll(100) + 5;
      if (this.#roll(3) === 0) from = NAMES[this.#roll(NAMES.length)] ?? "";
      const kind = this.#roll(60);
      if (kind === 0) found.push(this.entry({ kind: "action", from, body: "waves", at, isHistory: true }));
      else if (kind === 1)
        found.push(this.entry({ kind: "topic", from, body: "Tea at four", at, isHistory: true }));
      else if (kind === 2)
        found.push(
          this.entry({
            kind: "gap",
            from: "",
            body: "12 messages are missing here: they are no longer kept",
            at,
            isHistory: true,
          }),
        );
      else if (kind < 6) {
        for (let j = this.#roll(5); j >= 0; j--)
          found.push(
            this.entry({
              kind: this.#roll(2) ? "joined" : "left",
              from: "",
              names: [NAMES[this.#roll(NAMES.length)] ?? ""],
              at: at + j,
              isHistory: true,
            }),
          );
      } else if (kind === 6)
        found.push(
          this.entry({
            from,
            body: `Ada, ${SAID[this.#roll(SAID.length)]}`,
            mention: true,
            at,
            isHistory: true,
          }),
        );
      else if (kind === 7)
        found.push(
          this.entry({ kind: "whisper", from, to: "Ada", body: "just for you", at, isHistory: true }),
        );
      else found.push(this.entry({ from, body: SAID[this.#roll(SAID.length)] ?? "", at, isHistory: true }));
    }
    return found;
  }

  #settle(id: string, pending: Entry): void {
    const failing = this.isRejecting;
    setTimeout(() => {
      this.#put(
        id,
        failing
          ? { ...pending, state: "failed", problem: "the disk of the server is full" }
          : { ...pending, state: "sent" },
      );
    }, this.options.ackAfter ?? 250);
  }

  #put(id: string, entry: Entry): void {
    const one = this.conversation(id);
    const at = one?.entries.findIndex((other) => other.key === entry.key) ?? -1;
    if (!one || at === -1) return;
    one.entries[at] = entry;
    this.emit({ type: "changed", id, entry, at });
  }

  #read(one: Room): void {
    one.unread = 0;
    one.mentions = 0;
    this.emit({ type: "conversations" });
  }

  #link(link: LinkState): void {
    this.link = link;
    this.emit({ type: "link" });
  }

  #live(): void {
    setTimeout(() => {
      const mention = this.#roll(10) === 0;
      const body = SAID[this.#roll(SAID.length)] ?? "";
      const from = NAMES[this.#roll(NAMES.length)] ?? "";
      const id = this.#roll(3) ? "#lobby" : "#engine-room";
      if (this.link.state === "online")
        this.add(id, [this.entry({ from, body: mention ? `${this.name}: ${body}` : body, mention })]);
      this.#live();
    }, 1500 + this.#roll(3000));
  }

  #room(id: string, kind: "room" | "person", name: string, people: string[]): Room {
    const room: Room = {
      id,
      kind,
      name,
      topic: "",
      entries: [],
      more: false,
      unread: 0,
      mentions: 0,
      firstUnread: "",
      people: [...people].sort(),
      total: people.length,
      locked: "no",
      requiresPassphrase: false,
    };
    this.conversations.push(room);
    return room;
  }

  #roll(sides: number): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * sides);
  }
}
