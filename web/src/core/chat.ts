// The chat as the view sees it: turns events into conversations, and typed lines into requests. It knows
// neither the socket nor the page.

import type { Change, Chat, Conversation, Entry, LinkState, SignIn } from "./api.ts";
import { Client } from "./client.ts";
import { COMMANDS, HELP, parse } from "./commands.ts";
import { complete, isRoomExpected } from "./completion.ts";
import { ConversationState, newEntry, shownBody } from "./conversation.ts";
import { futureTime } from "./dates.ts";
import { conversationId, Encryption, isEncrypted } from "./encryption.ts";
import type { Event, Message } from "./events.ts";
import { HistoryRequests } from "./history.ts";
import { Link } from "./link.ts";
import type { Platform } from "./platform.ts";
import { roomName } from "./rooms.ts";
import { counted, escapeControls, nameKey, SERVER_NAME } from "./text.ts";

const LOBBY = "lobby";
const HISTORY_PAGE = 50; // messages of history to load at a time
const DECRYPT_BATCH = 500; // messages to decrypt at a time
const SECRET_KEY = "selchat.secret"; // keys in the browser's storage
const ROOMS_KEY = "selchat.rooms";
const ENCRYPTED_KEY = "selchat.encrypted"; // JSON: ids of conversations with a passphrase, without the passphrase
const PASSPHRASE_MISSING =
  "Not sent: your messages here are encrypted, and the page no longer has the passphrase. Enter it, or forget it, with the Passphrase needed button above.";
const IN_NO_ROOM = "You are in no room. Type /join ROOM.";
const NOT_CONNECTED = "You are not connected. Try again when the connection is back.";

type EventOf<K extends Event["type"]> = Extract<Event, { type: K }>;

/** A message of this page that has no final place yet. */
interface Pending {
  conversation: ConversationState;
  key: string;
  text: string;
  mustEncrypt: boolean; // the user typed it while a passphrase was set
  storedSeq: number; // the seq of an acknowledged message in a room; 0: not acknowledged
}

export class Core implements Chat {
  readonly commands = COMMANDS;
  current = "";
  private readonly states = new Map<string, ConversationState>(); // by id
  private readonly listeners = new Set<(change: Change) => void>();
  private readonly pending = new Map<string, Pending>(); // by message id
  private readonly failed = new Map<string, Pending>(); // by conversation id and key
  private readonly fetching = new Map<string, Promise<void>>(); // history requests, by conversation id
  // Conversation ids and keys: alert if the decrypted message mentions the user.
  private readonly alertWhenDecrypted = new Set<string>();
  // Ids of conversations that already alerted about missed messages.
  private readonly alerted = new Set<string>();
  private announcedName = ""; // the last name that the user was told about, if it differs from the wanted one
  private openAfterJoin = ""; // id of the room to open after joining it
  private roomsRequests: string[] = []; // ids of the conversations that asked for the rooms; "": completion
  private knownRooms: string[] = [];
  private toDecrypt = new Map<ConversationState, string[]>(); // keys of entries
  private isWatched = true;
  private readonly encryptedIds: Set<string>; // "": all conversations
  private readonly encryption: Encryption;
  private readonly client: Client;
  private readonly serverLink: Link;
  private readonly history: HistoryRequests;

  constructor(private readonly platform: Platform) {
    this.encryption = new Encryption((request) => platform.callWorker(request));
    this.encryptedIds = new Set(parseIds(platform.load(ENCRYPTED_KEY)));
    this.client = new Client(
      platform.token(),
      this.encryption,
      (message) => this.serverLink.send(message),
      (events) => this.handleEvents(events),
    );
    this.serverLink = new Link(platform, this.client, () => this.linkChanged());
    this.history = new HistoryRequests((room, limit, before) => this.client.getHistory(room, limit, before));
  }

  // -- state ---------------------------------------------------------------------------------------------

  get name(): string {
    return escapeControls(this.client.name);
  }

  get server(): string {
    return escapeControls(this.client.server);
  }

  get link(): LinkState {
    return this.serverLink.status;
  }

  get unsentCount(): number {
    return this.pending.size;
  }

  get conversations(): readonly Conversation[] {
    const all = [...this.states.values()];
    const rank = (conversation: ConversationState) =>
      conversation.id === `#${LOBBY}` ? 0 : conversation.kind === "room" ? 1 : 2;
    return all.sort((a, b) => rank(a) - rank(b)); // a stable sort: keeps the order of arrival
  }

  conversation(id: string): Conversation | undefined {
    return this.states.get(id);
  }

  subscribe(listener: (change: Change) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // -- actions of the view -------------------------------------------------------------------------------

  start(how: SignIn): void {
    if (!this.states.size) {
      const rooms = this.platform.load(ROOMS_KEY).split(" ").map(roomName).filter(Boolean);
      for (const room of rooms) if (nameKey(room) !== LOBBY) this.client.join(room);
      if (rooms.length && !rooms.some((room) => nameKey(room) === LOBBY)) this.client.part(LOBBY);
    }
    let secret = this.platform.load(SECRET_KEY);
    if (!/^[\x21-\x7e]{16,128}$/.test(secret)) {
      secret = this.platform.token();
      this.platform.save(SECRET_KEY, secret);
    }
    this.serverLink.start(how.name, how.password ?? "", secret);
  }

  reconnect(): void {
    this.serverLink.reconnect();
  }

  /** The page's environment changed: retry at once if waiting for a connection. */
  retryNow(): void {
    this.serverLink.retryNow();
  }

  stop(): void {
    this.serverLink.stop();
  }

  open(id: string): void {
    const conversation = this.states.get(id);
    if (!conversation) return;
    const justOpened = id !== this.current;
    this.current = id;
    if (justOpened) this.emit({ type: "conversations" });
    if (this.isWatched) this.markRead(conversation, justOpened);
  }

  setWatching(seen: boolean): void {
    this.isWatched = seen;
    const conversation = this.states.get(this.current);
    if (seen && conversation) this.markRead(conversation, false);
  }

  submit(line: string): string {
    const command = parse(line, this.knownPeople());
    const here = this.states.get(this.current);
    const room = here?.kind === "room" ? here.address : "";
    switch (command.type) {
      case "empty":
        return "";
      case "invalid":
        return command.problem;
      case "text":
        return here ? this.send(here, command.text) : IN_NO_ROOM;
      case "me":
        return here ? this.send(here, `* ${this.client.name} ${command.text}`) : IN_NO_ROOM;
      case "msg":
        return this.sendTo(command.to, command.text);
      case "operator":
        return this.sendTo(SERVER_NAME, command.text);
      case "help":
        return this.showNotice(HELP);
      case "quit":
        this.stop();
        return "";
      case "join": {
        const wanted = roomName(command.room);
        if (!wanted) return badRoomName(command.room);
        this.openAfterJoin = conversationId(wanted, "");
        return this.client.join(wanted) ? "" : "You are in too many rooms. Leave one with /part.";
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
          return this.showNotice(
            topic
              ? `The topic of ${here?.name}: ${topic}`
              : "This room has no topic. Set one with /topic TEXT.",
          );
        }
        if (!this.isOnline) return NOT_CONNECTED;
        this.client.setTopic(room, command.text === "-" ? "" : command.text);
        return "";
    }
    if (!this.isOnline) return NOT_CONNECTED;
    switch (command.type) {
      case "rooms":
        this.roomsRequests.push(this.current);
        this.client.getRooms();
        return "";
      case "users":
        this.client.getUsers((command.room && roomName(command.room)) || room || LOBBY, this.current);
        return "";
      case "history":
        if (!here || !room) return IN_NO_ROOM;
        if (!here.more) return this.showNotice(`There are no older messages in ${here.name}.`);
        void this.fetch(here, command.number);
        return "";
      case "search":
        if (!here || !room) return IN_NO_ROOM;
        void this.history
          .search(room, command.text, (messages) => this.plaintexts(here, messages))
          .then((found) => here.notice(found, this.seconds));
        return "";
    }
  }

  complete(line: string, caret: number): { start: number; end: number; candidates: readonly string[] } {
    const before = line.slice(0, caret);
    if (isRoomExpected(before) && this.isOnline && !this.roomsRequests.includes("")) {
      this.roomsRequests.push(""); // for the next completion
      this.client.getRooms();
    }
    const own = [...this.states.values()].filter((conversation) => conversation.kind === "room");
    own.sort((a, b) => Number(a.id === this.current) - Number(b.id === this.current)); // the current room last
    const rooms = new Set([
      ...own.map((conversation) => conversation.name),
      ...this.knownRooms.map(escapeControls),
    ]);
    return complete(before, this.knownPeople(), [...rooms]);
  }

  /** Return the names of people in the conversations of this page, those of the current one first. */
  private knownPeople(): string[] {
    const here = this.states.get(this.current);
    const others = [...this.states.values()].filter((conversation) => conversation !== here);
    return [...new Set([here, ...others].flatMap((conversation) => conversation?.people ?? []))];
  }

  loadOlder(id: string): Promise<void> {
    const conversation = this.states.get(id);
    return conversation?.more && this.isOnline ? this.fetch(conversation, HISTORY_PAGE) : Promise.resolve();
  }

  async setPassphrase(id: string, passphrase: string): Promise<void> {
    this.encryption.setPassphrase(id, passphrase);
    if (passphrase) this.encryptedIds.add(id);
    else if (id) this.encryptedIds.delete(id);
    else this.encryptedIds.clear();
    this.platform.save(ENCRYPTED_KEY, JSON.stringify([...this.encryptedIds]));
    const conversations = [...this.states.values()].filter((conversation) => !id || conversation.id === id);
    for (const conversation of conversations) this.updateLock(conversation);
    const problems = await Promise.all(
      conversations.map((conversation) =>
        this.encryption.deriveKey(conversation.id, this.saltOf(conversation)),
      ),
    );
    for (const conversation of conversations) {
      const can = this.encryption.passphraseFor(conversation.id) !== "";
      conversation.retryDecryption(can);
      if (can) for (const key of conversation.undecrypted.keys()) this.scheduleDecryption(conversation, key);
    }
    const problem = problems.find(Boolean);
    if (problem) throw new Error(problem);
  }

  retry(id: string, key: string): void {
    const failed = this.failed.get(`${id} ${key}`);
    if (!failed) return;
    const queued = this.queue(failed.conversation, failed.text, failed.mustEncrypt);
    if ("problem" in queued) return;
    this.failed.delete(`${id} ${key}`);
    failed.conversation.moveToPending(key, { state: "pending", problem: "", at: this.seconds });
    this.pending.set(queued.id, failed);
    this.client.flush();
  }

  // -- sending -------------------------------------------------------------------------------------------

  private send(conversation: ConversationState, text: string): string {
    const mustEncrypt = this.encrypts(conversation);
    if (!mustEncrypt && conversation.requiresPassphrase) return PASSPHRASE_MISSING;
    const queued = this.queue(conversation, text, mustEncrypt);
    if ("problem" in queued) return queued.problem;
    const key = conversation.newKey();
    const message = {
      from: this.client.name || this.serverLink.name,
      to: conversation.kind === "person" ? conversation.address : "",
    };
    conversation.addPending(
      newEntry(key, "said", {
        ...shownBody(message, text),
        from: escapeControls(message.from),
        to: escapeControls(message.to),
        at: this.seconds,
        isOwn: true,
        state: "pending",
        encryption: mustEncrypt ? "yes" : "no",
      }),
    );
    this.pending.set(queued.id, {
      conversation: conversation,
      key,
      text,
      mustEncrypt: mustEncrypt,
      storedSeq: 0,
    });
    this.client.flush();
    return "";
  }

  private sendTo(name: string, text: string): string {
    const conversation = this.person(name);
    const problem = this.send(conversation, text);
    if (!problem) this.open(conversation.id);
    return problem;
  }

  private queue(
    conversation: ConversationState,
    text: string,
    mustEncrypt: boolean,
  ): { id: string } | { problem: string } {
    return conversation.kind === "room"
      ? this.client.send(conversation.address, "", text, mustEncrypt)
      : this.client.send("", conversation.address, text, mustEncrypt);
  }

  private updateLock(conversation: ConversationState): void {
    if (conversation.id === conversationId("", SERVER_NAME)) return; // the server must be able to read commands
    conversation.updateLock(
      this.encryption.passphraseFor(conversation.id) !== "",
      this.encryptedIds.has(conversation.id) || this.encryptedIds.has(""),
    );
  }

  private encrypts(conversation: ConversationState): boolean {
    return (
      conversation.id !== conversationId("", SERVER_NAME) &&
      this.encryption.passphraseFor(conversation.id) !== ""
    );
  }

  // -- events --------------------------------------------------------------------------------------------

  private handleEvents(events: Event[]): void {
    for (const received of events) {
      const event = this.withLocalEnd(received);
      this.serverLink.handle(event);
      this.handleEvent(event);
    }
    this.confirmStored();
    if (this.serverLink.isSecondTab) this.announceName();
    for (const conversation of this.states.values()) this.trim(conversation);
  }

  /** Say in the user's time zone when a ban or a mute ends; the server's text has its own. */
  private withLocalEnd(event: Event): Event {
    if (event.type !== "refused" || event.until === null || !["banned", "muted"].includes(event.code))
      return event;
    return {
      ...event,
      text: `the operator has ${event.code} you until ${futureTime(event.until, this.seconds)}`,
    };
  }

  /** Remove the oldest entries of a long conversation, and everything that belongs to them. */
  private trim(conversation: ConversationState): void {
    if (this.fetching.has(conversation.id)) return; // the result must go before the present first entry
    for (const key of conversation.trim(this.isWatched || conversation.id !== this.current))
      this.forget(conversation, key);
  }

  private forget(conversation: ConversationState, key: string): void {
    this.failed.delete(`${conversation.id} ${key}`);
    this.alertWhenDecrypted.delete(`${conversation.id} ${key}`);
  }

  private handleEvent(event: Event): void {
    switch (event.type) {
      case "welcomed":
        return this.handleWelcome(event);
      case "entered":
        return this.handleEntered(event.room, event.seq);
      case "message":
        return this.handleMessage(event.message);
      case "whispered":
        return this.handleWhisper(event.message);
      case "acked":
        return this.handleAck(event);
      case "refused":
        return this.handleError(event);
      case "not-stored": {
        const text = `The server cannot store messages now (${escapeControls(event.text)}). Your messages wait here, and the page sends them again.`;
        this.showNotice(text);
        return;
      }
      case "users":
        return this.handleUsers(event);
      case "parted":
        return this.handleParted(event.room);
      case "people": {
        const room = this.client.rooms.get(event.room);
        if (room) this.room(room.name)?.setPeople(room.people, room.total, room.topic);
        return;
      }
      case "joined":
      case "left":
        this.room(event.room)?.joinedOrLeft(event.type, event.names, this.seconds);
        return;
      case "topic":
        return this.handleTopic(event);
      case "rooms":
        return this.handleRooms(event);
      case "history":
        return this.history.handle(event);
      case "gap": {
        const missing = event.before - event.after - 1;
        const [verb, them] = missing === 1 ? ["is", "it"] : ["are", "them"];
        const text = `${counted(missing, "message")} ${verb} missing here: the server no longer has ${them}`;
        this.room(event.room)?.notice(text, this.seconds, "gap");
        return;
      }
      case "bye":
        return;
    }
  }

  private handleWelcome(welcome: EventOf<"welcomed">): void {
    this.platform.startWorker();
    this.alerted.clear();
    if (welcome.isRolledBack) this.encryption.startEpoch();
    for (const conversation of this.states.values()) {
      if (welcome.isRenumbered) conversation.unreadWhispers.clear();
      if (conversation.kind === "person") conversation.setPair(welcome.name);
      if (conversation.kind !== "room" || !welcome.isRolledBack) continue;
      conversation.startEpoch();
      if (welcome.isRenumbered) conversation.startNewHistory(this.seconds);
    }
    for (const { room } of welcome.rooms) {
      const conversation = this.room(room);
      // The answer was lost with the connection.
      if (conversation?.more && !conversation.hasHistory) void this.fetch(conversation, HISTORY_PAGE);
    }
    this.emit({ type: "conversations" });
  }

  /** Say it once, in the open conversation, which may be some moments after the welcome. */
  private announceName(): void {
    if (!this.current || this.client.name === this.announcedName) return;
    this.announcedName = this.client.name;
    const wanted = escapeControls(this.serverLink.name);
    if (!this.isMe(this.serverLink.name))
      this.showNotice(`You are ${this.name} in this tab, because ${wanted} is in use in another tab.`);
  }

  private handleEntered(name: string, seq: number): void {
    const id = conversationId(name, "");
    const conversation = this.states.get(id) ?? this.newConversation(id, "room", name);
    conversation.rename(name);
    const room = this.client.rooms.get(name);
    if (room) conversation.setPeople(room.people, room.total, room.topic);
    conversation.first = seq + 1;
    conversation.more = seq > 0;
    if (!this.current) this.open(id);
    this.saveRooms();
    this.emit({ type: "conversations" });
    if (conversation.more) void this.fetch(conversation, HISTORY_PAGE);
  }

  private handleParted(name: string): void {
    const conversation = this.room(name);
    this.history.cancel(name);
    if (!conversation) return;
    this.states.delete(conversation.id);
    this.alerted.delete(conversation.id);
    for (const { key } of conversation.entries) this.forget(conversation, key);
    for (const [id, pending] of this.pending)
      if (pending.conversation === conversation) this.pending.delete(id);
    this.saveRooms();
    if (this.current === conversation.id) {
      this.current = "";
      const next = this.conversations.filter((one) => one.kind === "room").at(-1) ?? this.conversations[0];
      if (next) this.open(next.id);
    }
    this.emit({ type: "conversations" });
  }

  private handleMessage(message: Message): void {
    const conversation = this.room(message.room);
    if (!conversation) return;
    const pending = message.isOwn ? this.pending.get(message.id) : undefined;
    if (pending?.conversation === conversation) {
      this.pending.delete(message.id);
      conversation.confirm(pending.key, { state: "sent", seq: message.seq, at: message.at });
      return;
    }
    this.add(conversation, message);
  }

  private handleWhisper(message: Message): void {
    if (message.isOwn) return; // a message to oneself: it is already shown
    const from = this.isMe(message.from) ? message.to : message.from;
    const conversation = this.person(from);
    if (conversation.address !== from) {
      conversation.rename(from);
      conversation.setPair(this.client.name);
    }
    this.add(conversation, message);
  }

  private add(conversation: ConversationState, message: Message): void {
    const { isMissed: missed } = message;
    const mine = this.isMe(message.from);
    const hasPassphrase =
      conversation.id !== conversationId("", SERVER_NAME) &&
      this.encryption.passphraseFor(conversation.id) !== "";
    const entry = conversation.makeEntry(
      message,
      this.client.name,
      conversation.keyOf(message),
      hasPassphrase,
      mine,
      false,
    );
    conversation.add(entry);
    if (entry.encryption === "decrypting") this.scheduleDecryption(conversation, entry.key);
    if (mine) return;
    if (!this.isSeen(conversation)) conversation.countUnread(entry, message);
    else if (message.to) this.client.markWhispersRead([message]);
    const isFirstAlert = !missed || !this.alerted.has(conversation.id);
    if (entry.kind === "whisper" || entry.mention) this.alert(conversation, entry, missed);
    else if (entry.encryption === "decrypting" && isFirstAlert)
      this.alertWhenDecrypted.add(`${conversation.id} ${entry.key}`);
  }

  /** Alert once for all missed messages of a conversation, not one by one. */
  private alert(conversation: ConversationState, entry: Entry, isMissed: boolean): void {
    if (this.isSeen(conversation) || (isMissed && this.alerted.has(conversation.id))) return;
    if (isMissed) this.alerted.add(conversation.id);
    this.emit({ type: "alert", id: conversation.id, entry });
  }

  /** Mark a conversation as read. `justOpened`: another one was open before. */
  private markRead(conversation: ConversationState, justOpened: boolean): void {
    conversation.markRead(justOpened);
    if (!conversation.unreadWhispers.size) return;
    this.client.markWhispersRead(conversation.unreadWhispers.values());
    conversation.unreadWhispers.clear();
  }

  private handleAck(ack: EventOf<"acked">): void {
    const pending = this.pending.get(ack.id);
    if (!pending) return;
    const { conversation, key } = pending;
    const changed: Partial<Entry> = ack.encoded
      ? { at: ack.at, encryption: ack.encoded.cipher ? "yes" : "no" }
      : { at: ack.at };
    if (conversation.kind === "room") {
      pending.storedSeq = ack.seq;
      conversation.replace(key, changed);
      if (ack.encoded?.cipher) this.recordOwnCiphertext(conversation, ack);
    } else {
      this.pending.delete(ack.id);
      conversation.confirm(key, { ...changed, state: "sent", seq: ack.seq });
    }
  }

  /** Decrypt the user's own message as readers do, so that nobody can replay it as a new one. */
  private recordOwnCiphertext(
    conversation: ConversationState,
    { id, seq, at, encoded }: EventOf<"acked">,
  ): void {
    if (!encoded || !this.encryption.passphraseFor(conversation.id)) return;
    const from = this.client.name;
    const message = {
      room: conversation.address,
      to: "",
      from,
      seq,
      at,
      id,
      ...encoded,
      isOwn: true,
      isMissed: false,
    };
    void this.encryption.decrypt(conversation.id, [message], this.saltOf(conversation), from);
  }

  /**
   * Confirm stored messages that get no place of their own, because the room has already passed their number.
   */
  private confirmStored(): void {
    for (const [id, { conversation, key, storedSeq: stored }] of this.pending) {
      const room = stored ? this.client.rooms.get(conversation.address) : undefined;
      if (!stored || (room && room.order.position < stored)) continue;
      this.pending.delete(id);
      conversation.confirm(key, { state: "sent", seq: stored });
    }
  }

  private handleError(refused: EventOf<"refused">): void {
    const text = escapeControls(refused.text || refused.code);
    const pending = refused.id ? this.pending.get(refused.id) : undefined;
    if (pending) {
      this.pending.delete(refused.id);
      this.failed.set(`${pending.conversation.id} ${pending.key}`, pending);
      pending.conversation.confirm(pending.key, { state: "failed", problem: text });
      return;
    }
    if (this.serverLink.status.state !== "online") return; // the link shows it
    const conversation = refused.room ? this.room(refused.room) : undefined;
    if (conversation && ["not-readable", "not-in-room", "bad-message"].includes(refused.code))
      this.history.cancel(refused.room);
    (conversation ?? this.states.get(this.current))?.notice(sentence(text), this.seconds);
  }

  private handleUsers(users: EventOf<"users">): void {
    const { room, total } = users;
    if (users.entered) {
      if (this.openAfterJoin !== conversationId(room, "")) return;
      this.open(this.openAfterJoin);
      this.openAfterJoin = "";
      return;
    }
    const conversation = this.states.get(users.conversation);
    if (!conversation) return;
    const where = nameKey(room) === LOBBY ? "online" : `in ${escapeControls(room)}`;
    const missing = total - users.names.length;
    const more = missing > 0 ? ` and ${missing} more` : "";
    const names = users.names.flatMap((name, index) => [index ? ", " : "", { name: escapeControls(name) }]);
    conversation.notice([`Users ${where} (${total}): `, ...names, more], this.seconds);
  }

  private handleTopic(topic: EventOf<"topic">): void {
    const conversation = this.room(topic.room);
    if (!conversation) return;
    const [from, body] = [escapeControls(topic.from), escapeControls(topic.topic)];
    conversation.add(
      newEntry(conversation.newKey(), "topic", { from, body, at: topic.at, isOwn: this.isMe(topic.from) }),
    );
    conversation.topic = body;
    this.emit({ type: "conversations" });
  }

  private handleRooms({ rooms, total }: EventOf<"rooms">): void {
    this.knownRooms = rooms.map(({ room }) => room);
    const conversation = this.states.get(this.roomsRequests.shift() ?? "");
    if (!conversation) return;
    const lines = rooms.flatMap(({ room, members, topic }, index) => [
      index ? "\n" : "",
      { name: escapeControls(room) },
      topic ? ` (${members}): ` : ` (${members})`,
      { quote: escapeControls(topic) },
    ]);
    if (total > rooms.length) lines.push(`\nand ${total - rooms.length} more`);
    conversation.notice(lines, this.seconds);
  }

  private linkChanged(): void {
    if (this.serverLink.status.state !== "online") {
      this.history.cancel();
      this.roomsRequests = [];
    }
    this.emit({ type: "link" });
  }

  // -- history -------------------------------------------------------------------------------------------

  private fetch(conversation: ConversationState, limit: number): Promise<void> {
    const under = this.fetching.get(conversation.id);
    if (under) return under;
    const fetched = this.history.get(conversation.address, limit, conversation.first).then((history) => {
      this.fetching.delete(conversation.id);
      if (!history || this.states.get(conversation.id) !== conversation) return;
      const messages = history.messages.filter((message) => message.seq < conversation.first);
      const hasPassphrase = this.encryption.passphraseFor(conversation.id) !== "";
      const entries = messages.map((message) =>
        conversation.makeEntry(
          message,
          this.client.name,
          conversation.keyOf(message),
          hasPassphrase,
          this.isMe(message.from),
          true,
        ),
      );
      conversation.hasHistory = true;
      conversation.first = messages[0]?.seq ?? conversation.first;
      conversation.more = history.more && messages.length > 0;
      conversation.prependHistory(entries);
      for (const entry of entries)
        if (entry.encryption === "decrypting") this.scheduleDecryption(conversation, entry.key);
      if (!conversation.more) this.emit({ type: "conversations" });
    });
    this.fetching.set(conversation.id, fetched);
    return fetched;
  }

  /** Return the texts of a room's messages; "" for those that cannot be decrypted. */
  private async plaintexts(conversation: ConversationState, messages: Message[]): Promise<string[]> {
    const sealed = messages.filter(isEncrypted);
    const passphrase = this.encryption.passphraseFor(conversation.id);
    const opened =
      passphrase && sealed.length
        ? await this.encryption.decrypt(conversation.id, sealed, this.saltOf(conversation), this.client.name)
        : [];
    const texts = new Map(sealed.map((message, at) => [message, opened[at]]));
    return messages.map((message) => {
      if (!message.cipher) return message.body;
      const one = texts.get(message);
      return one && "text" in one ? one.text : "";
    });
  }

  // -- encryption ----------------------------------------------------------------------------------------

  /** Decrypt an entry, together with the others of this turn of the event loop. */
  private scheduleDecryption(conversation: ConversationState, key: string): void {
    const keys = this.toDecrypt.get(conversation);
    if (keys) {
      keys.push(key);
      return;
    }
    this.toDecrypt.set(conversation, [key]);
    queueMicrotask(() => void this.decryptScheduled(conversation));
  }

  private async decryptScheduled(conversation: ConversationState): Promise<void> {
    const found: [string, Message][] = [];
    for (const key of this.toDecrypt.get(conversation) ?? []) {
      const message = conversation.undecrypted.get(key);
      if (message) found.push([key, message]);
    }
    this.toDecrypt.delete(conversation);
    const passphrase = this.encryption.passphraseFor(conversation.id);
    for (let at = 0; at < found.length; at += DECRYPT_BATCH) {
      const some = found.slice(at, at + DECRYPT_BATCH);
      const messages = some.map(([, message]) => message);
      const opened = await this.encryption.decrypt(
        conversation.id,
        messages,
        this.saltOf(conversation),
        this.client.name,
      );
      // The new passphrase decrypts all of them again.
      if (passphrase !== this.encryption.passphraseFor(conversation.id)) return;
      some.forEach(([key, message], place) => {
        const one = opened[place];
        if (one)
          this.alertIfDecrypted(
            conversation,
            conversation.applyDecrypted(key, one, this.client.name),
            message.isMissed,
          );
      });
    }
  }

  private alertIfDecrypted(
    conversation: ConversationState,
    entry: Entry | undefined,
    isMissed: boolean,
  ): void {
    if (!entry || !this.alertWhenDecrypted.delete(`${conversation.id} ${entry.key}`) || !entry.mention)
      return;
    if (!this.isSeen(conversation)) conversation.noteMention();
    this.alert(conversation, entry, isMissed);
  }

  private saltOf(conversation: ConversationState): string {
    return conversation.kind === "room"
      ? (this.client.rooms.get(conversation.address)?.salt ?? "")
      : this.client.salt;
  }

  // ------------------------------------------------------------------------------------------------------

  private get isOnline(): boolean {
    return this.serverLink.status.state === "online";
  }

  private get seconds(): number {
    return this.platform.now() / 1000;
  }

  private isMe(name: string): boolean {
    return nameKey(name) === nameKey(this.client.name);
  }

  private isSeen(conversation: ConversationState): boolean {
    return this.isWatched && conversation.id === this.current;
  }

  private room(name: string): ConversationState | undefined {
    return this.states.get(conversationId(name, ""));
  }

  private person(name: string): ConversationState {
    const id = conversationId("", name);
    return this.states.get(id) ?? this.newConversation(id, "person", name);
  }

  private newConversation(id: string, kind: Conversation["kind"], address: string): ConversationState {
    const conversation = new ConversationState(id, kind, address, (change) => {
      if (this.states.get(id) === conversation) this.emit(change);
    });
    this.states.set(id, conversation);
    if (kind === "person") conversation.setPair(this.client.name);
    this.updateLock(conversation);
    this.emit({ type: "conversations" });
    return conversation;
  }

  private saveRooms(): void {
    const rooms = this.client.rooms.all.filter((room) => room.isJoinWanted).map((room) => room.name);
    this.platform.save(ROOMS_KEY, rooms.join(" "));
  }

  /** Show a notice in the open conversation. */
  private showNotice(text: string): "" {
    this.states.get(this.current)?.notice(text, this.seconds);
    return "";
  }

  private emit(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }
}

/** Return a text from the server as a sentence. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** Return the ids in a stored value, which may be anything. */
function parseIds(kept: string): string[] {
  try {
    const found: unknown = JSON.parse(kept || "[]");
    return Array.isArray(found) ? found.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

function badRoomName(name: string): string {
  return `${escapeControls(name)} is not a valid room name. Use 1 to 32 characters without spaces, commas, colons, quotation marks and brackets, and do not begin with @ # / * -`;
}
