// The chat as the view has it: what happens becomes conversations, and what is typed is done. It knows no socket and
// no page.

import type { Change, Chat, Conversation, Entry, Link as Shown, Start } from "./api.ts";
import { Client } from "./client.ts";
import { COMMANDS, HELP, parse } from "./commands.ts";
import { complete, wantsRooms } from "./completion.ts";
import type { Event, Message } from "./events.ts";
import { Link } from "./link.ts";
import { Past } from "./past.ts";
import type { Platform } from "./platform.ts";
import { roomName } from "./rooms.ts";
import { entryOf, shownBody, Talk } from "./talk.ts";
import { count, nameKey, visible } from "./text.ts";
import { idOf, isSealed, Vault } from "./vault.ts";

const LOBBY = "lobby";
const SERVER = "Server";
const PAGE = 50; // messages of the past that are fetched at a time
const OPENED = 500; // messages that are opened at a time
const SECRET = "selchat.secret"; // what is kept in the browser
const ROOMS = "selchat.rooms";
const PROMISED = "selchat.encrypted"; // JSON: ids of conversations with a passphrase, which itself is not kept
const FORGOTTEN =
  "what you said here was encrypted, and the passphrase is not kept: give it again (Passphrase needed, above), or forget it there";
const IN_NO_ROOM = "you are in no room; /join ROOM";
const NOT_NOW = "there is no connection now";

type Of<K extends Event["is"]> = Extract<Event, { is: K }>;

/** One that was said here and has no place yet. */
interface Pending {
  talk: Talk;
  key: string;
  text: string;
  secret: boolean; // it was said with a passphrase
  stored: number; // the seq of a room's message that was acknowledged; 0: not yet
}

export class Core implements Chat {
  readonly commands = COMMANDS;
  current = "";
  private readonly talks = new Map<string, Talk>(); // by id
  private readonly listeners = new Set<(change: Change) => void>();
  private readonly pending = new Map<string, Pending>(); // by id of the message
  private readonly failed = new Map<string, Pending>(); // by id of the talk, and key
  private readonly fetching = new Map<string, Promise<void>>(); // pages of the past, by id
  private readonly fresh = new Set<string>(); // ids and keys of what is opened, and alerted about if it mentions one
  private readonly alerted = new Set<string>(); // ids of the conversations whose missed messages were
  private toldName = ""; // the name that was told of, as it is not the one that was asked for
  private visiting = ""; // id of the room that is to be opened when one is in
  private asksForRooms: string[] = []; // ids of the conversations in which was asked; "": for completion
  private knownRooms: string[] = [];
  private toOpen = new Map<Talk, string[]>(); // keys
  private isWatched = true;
  private readonly promised: Set<string>; // "": all conversations
  private readonly vault: Vault;
  private readonly client: Client;
  private readonly way: Link;
  private readonly past: Past;

  constructor(private readonly platform: Platform) {
    this.vault = new Vault((request) => platform.seal(request));
    this.promised = new Set(idsIn(platform.recall(PROMISED)));
    this.client = new Client(
      platform.token(),
      this.vault,
      (message) => this.way.send(message),
      (events) => this.take(events),
    );
    this.way = new Link(platform, this.client, () => this.linkChanged());
    this.past = new Past((room, limit, before) => this.client.getHistory(room, limit, before));
  }

  // -- what there is -------------------------------------------------------------------------------------

  get name(): string {
    return visible(this.client.name);
  }

  get server(): string {
    return visible(this.client.server);
  }

  get link(): Shown {
    return this.way.shown;
  }

  get waiting(): number {
    return this.pending.size;
  }

  get conversations(): readonly Conversation[] {
    const all = [...this.talks.values()];
    const rank = (talk: Talk) => (talk.id === `#${LOBBY}` ? 0 : talk.kind === "room" ? 1 : 2);
    return all.sort((a, b) => rank(a) - rank(b)); // which keeps the order in which they came
  }

  conversation(id: string): Conversation | undefined {
    return this.talks.get(id);
  }

  subscribe(listener: (change: Change) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // -- what the view does --------------------------------------------------------------------------------

  start(how: Start): void {
    if (!this.talks.size) {
      const rooms = this.platform.recall(ROOMS).split(" ").map(roomName).filter(Boolean);
      for (const room of rooms) if (nameKey(room) !== LOBBY) this.client.join(room);
      if (rooms.length && !rooms.some((room) => nameKey(room) === LOBBY)) this.client.part(LOBBY);
    }
    let secret = this.platform.recall(SECRET);
    if (!/^[\x21-\x7e]{16,128}$/.test(secret)) {
      secret = this.platform.token();
      this.platform.keep(SECRET, secret);
    }
    this.way.start(how.name, how.password ?? "", secret);
  }

  again(): void {
    this.way.again();
  }

  /** Something has changed around the page: what waits for a connection tries at once. */
  hint(): void {
    this.way.hint();
  }

  stop(): void {
    this.way.stop();
  }

  open(id: string): void {
    const talk = this.talks.get(id);
    if (!talk) return;
    const opened = id !== this.current;
    this.current = id;
    if (opened) this.change({ what: "conversations" });
    if (this.isWatched) this.read(talk, opened);
  }

  watching(seen: boolean): void {
    this.isWatched = seen;
    const talk = this.talks.get(this.current);
    if (seen && talk) this.read(talk, false);
  }

  type(line: string): string {
    const command = parse(line);
    const here = this.talks.get(this.current);
    const room = here?.kind === "room" ? here.address : "";
    switch (command.asked) {
      case "nothing":
        return "";
      case "wrong":
        return command.problem;
      case "text":
        return here ? this.say(here, command.text) : IN_NO_ROOM;
      case "me":
        return here ? this.say(here, `* ${this.client.name} ${command.text}`) : IN_NO_ROOM;
      case "msg":
        return this.sayTo(command.to, command.text);
      case "operator":
        return this.sayTo(SERVER, command.text);
      case "help":
        return this.tell(HELP);
      case "quit":
        this.stop();
        return "";
      case "join": {
        const wanted = roomName(command.room);
        if (!wanted) return `${visible(command.room)} cannot be a room's name`;
        this.visiting = idOf(wanted, "");
        return this.client.join(wanted) ? "" : "you are in too many rooms";
      }
      case "part": {
        const left = command.room ? roomName(command.room) : room;
        if (left) this.client.part(left);
        return left ? "" : IN_NO_ROOM;
      }
      case "topic":
        if (!room) return IN_NO_ROOM;
        if (!command.text) {
          const topic = here?.topic;
          return this.tell(topic ? `The topic of ${here?.name}: ${topic}` : "There is no topic");
        }
        if (!this.isOnline) return NOT_NOW;
        this.client.setTopic(room, command.text === "-" ? "" : command.text);
        return "";
    }
    if (!this.isOnline) return NOT_NOW;
    switch (command.asked) {
      case "rooms":
        this.asksForRooms.push(this.current);
        this.client.getRooms();
        return "";
      case "users":
        this.client.getUsers((command.room && roomName(command.room)) || room || LOBBY, this.current);
        return "";
      case "history":
        if (!here || !room) return IN_NO_ROOM;
        if (!here.more) return this.tell(`Nothing else has been said in ${here.name}`);
        void this.fetch(here, command.number);
        return "";
      case "search":
        if (!here || !room) return IN_NO_ROOM;
        void this.past
          .search(room, command.text, (messages) => this.texts(here, messages))
          .then((found) => here.notice(found, this.seconds));
        return "";
    }
  }

  complete(line: string, caret: number): { start: number; end: number; candidates: readonly string[] } {
    const before = line.slice(0, caret);
    if (wantsRooms(before) && this.isOnline && !this.asksForRooms.includes("")) {
      this.asksForRooms.push(""); // for the next time
      this.client.getRooms();
    }
    const here = this.talks.get(this.current);
    const others = [...this.talks.values()].filter((talk) => talk !== here);
    const people = new Set([here, ...others].flatMap((talk) => talk?.people ?? []));
    const own = others.concat(here ?? []).filter((talk) => talk.kind === "room");
    const rooms = new Set([...own.map((talk) => talk.name), ...this.knownRooms.map(visible)]);
    return complete(before, [...people], [...rooms]);
  }

  older(id: string): Promise<void> {
    const talk = this.talks.get(id);
    return talk?.more && this.isOnline ? this.fetch(talk, PAGE) : Promise.resolve();
  }

  async passphrase(id: string, words: string): Promise<void> {
    this.vault.learn(id, words);
    if (words) this.promised.add(id);
    else if (id) this.promised.delete(id);
    else this.promised.clear();
    this.platform.keep(PROMISED, JSON.stringify([...this.promised]));
    const talks = [...this.talks.values()].filter((talk) => !id || talk.id === id);
    for (const talk of talks) this.lock(talk);
    const problems = await Promise.all(talks.map((talk) => this.vault.derive(talk.id, this.saltOf(talk))));
    for (const talk of talks) {
      const can = this.vault.of(talk.id) !== "";
      talk.tryClosed(can);
      if (can) for (const key of talk.closed.keys()) this.openSoon(talk, key);
    }
    const problem = problems.find(Boolean);
    if (problem) throw new Error(problem);
  }

  retry(id: string, key: string): void {
    const failed = this.failed.get(`${id} ${key}`);
    if (!failed) return;
    const said = this.queue(failed.talk, failed.text, failed.secret);
    if ("problem" in said) return;
    this.failed.delete(`${id} ${key}`);
    failed.talk.unsettle(key, { state: "pending", problem: "", at: this.seconds });
    this.pending.set(said.id, failed);
    this.client.fill();
  }

  // -- what is said --------------------------------------------------------------------------------------

  private say(talk: Talk, text: string): string {
    const secret = this.isSealing(talk);
    if (!secret && talk.isPromised) return FORGOTTEN;
    const said = this.queue(talk, text, secret);
    if ("problem" in said) return said.problem;
    const key = talk.newKey();
    const message = {
      from: this.client.name || this.way.name,
      to: talk.kind === "person" ? talk.address : "",
    };
    talk.addPending(
      entryOf(key, "said", {
        ...shownBody(message, text),
        from: visible(message.from),
        to: visible(message.to),
        at: this.seconds,
        mine: true,
        state: "pending",
        sealed: secret ? "yes" : "no",
      }),
    );
    this.pending.set(said.id, { talk, key, text, secret, stored: 0 });
    this.client.fill();
    return "";
  }

  private sayTo(name: string, text: string): string {
    const talk = this.person(name);
    const problem = this.say(talk, text);
    if (!problem) this.open(talk.id);
    return problem;
  }

  private queue(talk: Talk, text: string, secret: boolean): { id: string } | { problem: string } {
    return talk.kind === "room"
      ? this.client.say(talk.address, "", text, secret)
      : this.client.say("", talk.address, text, secret);
  }

  private lock(talk: Talk): void {
    if (talk.id === idOf("", SERVER)) return; // which has to understand what it is told
    talk.lock(this.vault.of(talk.id) !== "", this.promised.has(talk.id) || this.promised.has(""));
  }

  private isSealing(talk: Talk): boolean {
    return talk.id !== idOf("", SERVER) && this.vault.of(talk.id) !== "";
  }

  // -- what happens --------------------------------------------------------------------------------------

  private take(events: Event[]): void {
    for (const event of events) {
      this.way.take(event);
      this.takeOne(event);
    }
    this.settleStored();
    if (this.way.isBeside) this.tellName();
    for (const talk of this.talks.values()) this.trim(talk);
  }

  /** Drop what is too much of a conversation, and what is known beside it. */
  private trim(talk: Talk): void {
    if (this.fetching.has(talk.id)) return; // what comes belongs before what is the first now
    for (const key of talk.trim(this.isWatched || talk.id !== this.current)) this.forget(talk, key);
  }

  private forget(talk: Talk, key: string): void {
    this.failed.delete(`${talk.id} ${key}`);
    this.fresh.delete(`${talk.id} ${key}`);
  }

  private takeOne(event: Event): void {
    switch (event.is) {
      case "welcomed":
        return this.takeWelcome(event);
      case "entered":
        return this.enter(event.room, event.seq);
      case "message":
        return this.takeMessage(event.message);
      case "whispered":
        return this.takeWhisper(event.message);
      case "acked":
        return this.takeAck(event);
      case "refused":
        return this.takeRefusal(event);
      case "not-stored": {
        const text = `The server cannot take messages now (${visible(event.text)}). What you say is kept, and said again.`;
        this.tell(text);
        return;
      }
      case "users":
        return this.takeUsers(event);
      case "parted":
        return this.leave(event.room);
      case "people": {
        const room = this.client.rooms.get(event.room);
        if (room) this.room(room.name)?.setPeople(room.people, room.total, room.topic);
        return;
      }
      case "joined":
      case "left":
        this.room(event.room)?.joinedOrLeft(event.is, event.names, this.seconds);
        return;
      case "topic":
        return this.takeTopic(event);
      case "rooms":
        return this.takeRooms(event);
      case "history":
        return this.past.take(event);
      case "gap": {
        const missing = count(event.before - event.after - 1, "message");
        const text = `${missing} missing here, because the server does not have them any more`;
        this.room(event.room)?.notice(text, this.seconds, "gap");
        return;
      }
      case "bye":
        return;
    }
  }

  private takeWelcome(welcome: Of<"welcomed">): void {
    this.platform.prepare();
    this.alerted.clear();
    if (welcome.back) this.vault.begin();
    for (const talk of this.talks.values()) {
      if (welcome.renumbered) talk.unseen.clear();
      if (talk.kind === "person") talk.pair(welcome.name);
      if (talk.kind !== "room" || !welcome.back) continue;
      talk.renumber();
      if (welcome.renumbered) talk.beginAnew(this.seconds);
    }
    for (const { room } of welcome.rooms) {
      const talk = this.room(room);
      if (talk?.more && !talk.hasPast) void this.fetch(talk, PAGE); // the answer was lost with the connection
    }
    this.change({ what: "conversations" });
  }

  /** Say it once, where one looks, which may be some moments after the welcome. */
  private tellName(): void {
    if (!this.current || this.client.name === this.toldName) return;
    this.toldName = this.client.name;
    const wanted = visible(this.way.name);
    if (!this.isMe(this.way.name))
      this.tell(`You are ${this.name} in this tab: ${wanted} is in use in another one.`);
  }

  private enter(name: string, seq: number): void {
    const id = idOf(name, "");
    const talk = this.talks.get(id) ?? this.newTalk(id, "room", name);
    talk.rename(name);
    const room = this.client.rooms.get(name);
    if (room) talk.setPeople(room.people, room.total, room.topic);
    talk.first = seq + 1;
    talk.more = seq > 0;
    if (!this.current) this.open(id);
    this.keepRooms();
    this.change({ what: "conversations" });
    if (talk.more) void this.fetch(talk, PAGE);
  }

  private leave(name: string): void {
    const talk = this.room(name);
    this.past.forget(name);
    if (!talk) return;
    this.talks.delete(talk.id);
    this.alerted.delete(talk.id);
    for (const { key } of talk.entries) this.forget(talk, key);
    for (const [id, pending] of this.pending) if (pending.talk === talk) this.pending.delete(id);
    this.keepRooms();
    if (this.current === talk.id) {
      this.current = "";
      const next = this.conversations.filter((one) => one.kind === "room").at(-1) ?? this.conversations[0];
      if (next) this.open(next.id);
    }
    this.change({ what: "conversations" });
  }

  private takeMessage(message: Message): void {
    const talk = this.room(message.room);
    if (!talk) return;
    const pending = message.own ? this.pending.get(message.id) : undefined;
    if (pending?.talk === talk) {
      this.pending.delete(message.id);
      talk.settle(pending.key, { state: "sent", seq: message.seq, at: message.at });
      return;
    }
    this.add(talk, message);
  }

  private takeWhisper(message: Message): void {
    if (message.own) return; // said to oneself: it is shown already
    const from = this.isMe(message.from) ? message.to : message.from;
    const talk = this.person(from);
    if (talk.address !== from) {
      talk.rename(from);
      talk.pair(this.client.name);
    }
    this.add(talk, message);
  }

  private add(talk: Talk, message: Message): void {
    const { missed } = message;
    const mine = this.isMe(message.from);
    const words = talk.id !== idOf("", SERVER) && this.vault.of(talk.id) !== "";
    const entry = talk.entry(message, this.client.name, talk.keyOf(message), words, mine, false);
    talk.add(entry);
    if (entry.sealed === "opening") this.openSoon(talk, entry.key);
    if (mine) return;
    if (!this.isSeen(talk)) talk.countUnread(entry, message);
    else if (message.to) this.client.readWhispers([message]);
    const isNews = !missed || !this.alerted.has(talk.id);
    if (entry.kind === "whisper" || entry.mention) this.alert(talk, entry, missed);
    else if (entry.sealed === "opening" && isNews) this.fresh.add(`${talk.id} ${entry.key}`);
  }

  /** What was missed is told once for a conversation, and not one by one. */
  private alert(talk: Talk, entry: Entry, missed: boolean): void {
    if (this.isSeen(talk) || (missed && this.alerted.has(talk.id))) return;
    if (missed) this.alerted.add(talk.id);
    this.change({ what: "alert", id: talk.id, entry });
  }

  /** What is looked at is read. `opened`: it was not looked at before. */
  private read(talk: Talk, opened: boolean): void {
    talk.read(opened);
    if (!talk.unseen.size) return;
    this.client.readWhispers(talk.unseen.values());
    talk.unseen.clear();
  }

  private takeAck(ack: Of<"acked">): void {
    const pending = this.pending.get(ack.id);
    if (!pending) return;
    const { talk, key } = pending;
    const changed: Partial<Entry> = ack.written
      ? { at: ack.at, sealed: ack.written.cipher ? "yes" : "no" }
      : { at: ack.at };
    if (talk.kind === "room") {
      pending.stored = ack.seq;
      talk.replace(key, changed);
      if (ack.written?.cipher) this.noteOwn(talk, ack);
    } else {
      this.pending.delete(ack.id);
      talk.settle(key, { ...changed, state: "sent", seq: ack.seq });
    }
  }

  /** One's own is read as others' is, so that it cannot come again as something new. */
  private noteOwn(talk: Talk, { id, seq, at, written }: Of<"acked">): void {
    if (!written || !this.vault.of(talk.id)) return;
    const from = this.client.name;
    const message = { room: talk.address, to: "", from, seq, at, id, ...written, own: true, missed: false };
    void this.vault.open(talk.id, [message], this.saltOf(talk), from);
  }

  /** What is stored, and will get no place of its own, because the room is beyond it, has the next one. */
  private settleStored(): void {
    for (const [id, { talk, key, stored }] of this.pending) {
      const room = stored ? this.client.rooms.get(talk.address) : undefined;
      if (!stored || (room && room.order.through < stored)) continue;
      this.pending.delete(id);
      talk.settle(key, { state: "sent", seq: stored });
    }
  }

  private takeRefusal(refused: Of<"refused">): void {
    const text = visible(refused.text || refused.code);
    const pending = refused.id ? this.pending.get(refused.id) : undefined;
    if (pending) {
      this.pending.delete(refused.id);
      this.failed.set(`${pending.talk.id} ${pending.key}`, pending);
      pending.talk.settle(pending.key, { state: "failed", problem: text });
      return;
    }
    if (this.way.shown.state !== "online") return; // the link says it
    const talk = refused.room ? this.room(refused.room) : undefined;
    if (talk && ["not-readable", "not-in-room", "bad-message"].includes(refused.code))
      this.past.forget(refused.room);
    (talk ?? this.talks.get(this.current))?.notice(sentence(text), this.seconds);
  }

  private takeUsers(users: Of<"users">): void {
    const { asker, room, total } = users;
    if (users.entered) {
      if (this.visiting !== idOf(room, "")) return;
      this.open(this.visiting);
      this.visiting = "";
      return;
    }
    const talk = this.talks.get(asker);
    if (!talk) return;
    const where = nameKey(room) === LOBBY ? "online" : `in ${visible(room)}`;
    const missing = total - users.names.length;
    const more = missing > 0 ? ` and ${missing} more` : "";
    talk.notice(`Users ${where} (${total}): ${visible(users.names.join(", "))}${more}`, this.seconds);
  }

  private takeTopic(topic: Of<"topic">): void {
    const talk = this.room(topic.room);
    if (!talk) return;
    const [from, body] = [visible(topic.from), visible(topic.topic)];
    talk.add(entryOf(talk.newKey(), "topic", { from, body, at: topic.at, mine: this.isMe(topic.from) }));
    talk.topic = body;
    this.change({ what: "conversations" });
  }

  private takeRooms({ rooms, total }: Of<"rooms">): void {
    this.knownRooms = rooms.map(({ room }) => room);
    const talk = this.talks.get(this.asksForRooms.shift() ?? "");
    if (!talk) return;
    const lines = rooms.map(({ room, members, topic }) =>
      topic ? `${visible(room)} (${members}): ${visible(topic)}` : `${visible(room)} (${members})`,
    );
    if (total > rooms.length) lines.push(`and ${total - rooms.length} more`);
    talk.notice(lines.join("\n"), this.seconds);
  }

  private linkChanged(): void {
    if (this.way.shown.state !== "online") {
      this.past.forget();
      this.asksForRooms = [];
    }
    this.change({ what: "link" });
  }

  // -- the past ------------------------------------------------------------------------------------------

  private fetch(talk: Talk, limit: number): Promise<void> {
    const under = this.fetching.get(talk.id);
    if (under) return under;
    const fetched = this.past.get(talk.address, limit, talk.first).then((history) => {
      this.fetching.delete(talk.id);
      if (!history || this.talks.get(talk.id) !== talk) return;
      const messages = history.messages.filter((message) => message.seq < talk.first);
      const words = this.vault.of(talk.id) !== "";
      const entries = messages.map((message) =>
        talk.entry(message, this.client.name, talk.keyOf(message), words, this.isMe(message.from), true),
      );
      talk.hasPast = true;
      talk.first = messages[0]?.seq ?? talk.first;
      talk.more = history.more && messages.length > 0;
      talk.addPast(entries);
      for (const entry of entries) if (entry.sealed === "opening") this.openSoon(talk, entry.key);
      if (!talk.more) this.change({ what: "conversations" });
    });
    this.fetching.set(talk.id, fetched);
    return fetched;
  }

  /** What messages of a room say, as far as that can be read. */
  private async texts(talk: Talk, messages: Message[]): Promise<string[]> {
    const sealed = messages.filter(isSealed);
    const words = this.vault.of(talk.id);
    if (!sealed.length) return messages.map((message) => message.body);
    const opened = words ? await this.vault.open(talk.id, sealed, this.saltOf(talk), this.client.name) : [];
    const texts = new Map(sealed.map((message, at) => [message, opened[at]]));
    return messages.map((message) => {
      if (!isSealed(message)) return message.body;
      const one = texts.get(message);
      return one && "text" in one ? one.text : "";
    });
  }

  // -- what is encrypted ---------------------------------------------------------------------------------

  /** Have it opened, together with what else comes in this turn. */
  private openSoon(talk: Talk, key: string): void {
    const keys = this.toOpen.get(talk);
    if (keys) {
      keys.push(key);
      return;
    }
    this.toOpen.set(talk, [key]);
    queueMicrotask(() => void this.openNow(talk));
  }

  private async openNow(talk: Talk): Promise<void> {
    const found: [string, Message][] = [];
    for (const key of this.toOpen.get(talk) ?? []) {
      const message = talk.closed.get(key);
      if (message) found.push([key, message]);
    }
    this.toOpen.delete(talk);
    const words = this.vault.of(talk.id);
    for (let at = 0; at < found.length; at += OPENED) {
      const some = found.slice(at, at + OPENED);
      const messages = some.map(([, message]) => message);
      const opened = await this.vault.open(talk.id, messages, this.saltOf(talk), this.client.name);
      if (words !== this.vault.of(talk.id)) return; // it is tried again with the other ones
      some.forEach(([key, message], place) => {
        const one = opened[place];
        if (one) this.isOpen(talk, talk.opened(key, one, this.client.name), message.missed);
      });
    }
  }

  private isOpen(talk: Talk, entry: Entry | undefined, missed: boolean): void {
    if (!entry || !this.fresh.delete(`${talk.id} ${entry.key}`) || !entry.mention) return;
    if (!this.isSeen(talk)) talk.noteMention();
    this.alert(talk, entry, missed);
  }

  private saltOf(talk: Talk): string {
    return talk.kind === "room" ? (this.client.rooms.get(talk.address)?.salt ?? "") : this.client.salt;
  }

  // ------------------------------------------------------------------------------------------------------

  private get isOnline(): boolean {
    return this.way.shown.state === "online";
  }

  private get seconds(): number {
    return this.platform.now() / 1000;
  }

  private isMe(name: string): boolean {
    return nameKey(name) === nameKey(this.client.name);
  }

  private isSeen(talk: Talk): boolean {
    return this.isWatched && talk.id === this.current;
  }

  private room(name: string): Talk | undefined {
    return this.talks.get(idOf(name, ""));
  }

  private person(name: string): Talk {
    const id = idOf("", name);
    return this.talks.get(id) ?? this.newTalk(id, "person", name);
  }

  private newTalk(id: string, kind: Conversation["kind"], address: string): Talk {
    const talk = new Talk(id, kind, address, (change) => {
      if (this.talks.get(id) === talk) this.change(change);
    });
    this.talks.set(id, talk);
    if (kind === "person") talk.pair(this.client.name);
    this.lock(talk);
    this.change({ what: "conversations" });
    return talk;
  }

  private keepRooms(): void {
    const rooms = this.client.rooms.all.filter((room) => room.isWanted).map((room) => room.name);
    this.platform.keep(ROOMS, rooms.join(" "));
  }

  /** Answer in the conversation that is looked at. */
  private tell(text: string): "" {
    this.talks.get(this.current)?.notice(text, this.seconds);
    return "";
  }

  private change(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }
}

/** A text from the server as a sentence. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** The ids in what was kept, which may be anything. */
function idsIn(kept: string): string[] {
  try {
    const found: unknown = JSON.parse(kept || "[]");
    return Array.isArray(found) ? found.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}
