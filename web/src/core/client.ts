// Client of the selchat protocol (docs/protocol.rst), without a socket: calls become messages, messages
// become events. It outlives connections: it keeps each message until the server acknowledges it, sends it
// again after a reconnect with the same id, and knows its position in each room. It must not know the time.

import type { EncodedBody, Event, Message, RoomSummary } from "./events.ts";
import * as wire from "./fields.ts";
import { type Fields, InvalidMessageError } from "./fields.ts";
import { Inbox } from "./inbox.ts";
import type { Delivery } from "./order.ts";
import { Outbox, OutgoingMessage } from "./outbox.ts";
import { type Room, Rooms, type UsersRequest } from "./rooms.ts";
import { byteLength, nameKey, scalarValues } from "./text.ts";

const VERSION = 1;
const HELLO_LIMIT = 4096; // bytes
const FRAME_LIMIT = 65_536; // bytes to send at most, whatever limit the server announces
const SERVER = "server"; // key of the name that receives commands
const ENCRYPTED_OVERHEAD = 120; // bytes of an encrypted message without its body

/** What sending needs of the end-to-end encryption; encryption.ts implements it. */
export interface Encryptor {
  /** Whether to encrypt messages there: in a room, or to a person. */
  isEnabled(room: string, to: string): boolean;
  encrypt(room: string, salt: string, to: string, sender: string, text: string): Promise<EncodedBody>;
}

export interface Hello {
  name: string;
  secret: string;
  password: string;
  beside: boolean;
}

export interface Limits {
  frame: number;
  unacknowledged: number;
  history: number;
  topic: number;
}

/**
 * offline         not connected                            -> greeting by `connectionMade`
 * greeting        sent a hello, waits for the answer       -> welcomed; authenticating by `sendPassword`
 * authenticating  sent the hello again, with the password  -> welcomed
 * welcomed        signed in                                -> leaving by `bye`
 * leaving         sent a bye, still receives messages      (the server closes the connection)
 *
 * `connectionLost` leads from every state to offline.
 */
type State = "offline" | "greeting" | "authenticating" | "welcomed" | "leaving";

/** `sendText` sends a frame on the present connection. `emit` receives the events, in order. */
export class Client {
  state: State = "offline";
  name = ""; // as the server cleaned it
  server = "";
  limits: Limits = { frame: FRAME_LIMIT, unacknowledged: 64, history: 1000, topic: 256 };
  salt = ""; // of direct messages
  readonly outbox = new Outbox();
  readonly rooms = new Rooms((room, given) => this.eventsOf(room, given));
  private hello: Hello = { name: "", secret: "", password: "", beside: false };
  private log: string | null = null; // null: never welcomed
  private inboxes = new Map<string, Inbox>(); // by key of the name: each has its own numbers
  private inbox = new Inbox(); // of the present name
  private missedWhispers = 0; // direct messages still to come from the time before this connection
  private acknowledgedWhisper = 0; // the highest seq that was acknowledged on this connection
  private lastId = 0;
  private connectionNumber = 0; // number of connections so far
  private isEncrypting = false;

  /** `prefix` starts every message id. It must be unique, because other tabs may use the same secret. */
  constructor(
    private readonly prefix: string,
    private readonly encryptor: Encryptor,
    private readonly sendText: (message: string) => void,
    private readonly emit: (events: Event[]) => void,
  ) {}

  // -- the connection ----------------------------------------------------------------------------------

  connectionMade(hello: Hello): void {
    this.hello = hello;
    this.state = "greeting";
    this.connectionNumber += 1;
    this.sendHello("");
  }

  /** Send the hello again with the password; false: there is none, or it was sent already. */
  sendPassword(): boolean {
    if (this.state !== "greeting" || !this.hello.password) return false;
    this.state = "authenticating";
    this.sendHello(this.hello.password);
    return true;
  }

  connectionLost(): void {
    if (this.state === "offline") return;
    this.state = "offline";
    this.acknowledgedWhisper = 0;
    this.isEncrypting = false;
    this.outbox.connectionLost();
    this.emit(this.rooms.connectionLost());
  }

  /** Handle a frame; whatever it contains, the result is events or nothing. */
  receive(data: unknown): void {
    const fields = wire.parse(data);
    if (!fields || this.state === "offline") return;
    const kind = fields.type as string;
    const isSigningIn = this.state === "greeting" || this.state === "authenticating";
    if (isSigningIn && !["welcome", "error", "bye", "ping"].includes(kind)) return;
    let events: Event[];
    try {
      events = this.handle(kind, fields);
    } catch (error) {
      if (error instanceof InvalidMessageError) return; // a missing message will show up as a gap
      throw error;
    }
    this.emit(events);
    this.acknowledgeWhispers();
    this.flush();
  }

  // -- requests ----------------------------------------------------------------------------------------

  /**
   * Send a message, now or when possible. Return its id, or the problem. `mustEncrypt`: never send it in the
   * clear.
   */
  send(room: string, to: string, text: string, mustEncrypt = false): { id: string } | { problem: string } {
    const body = scalarValues(text);
    const encrypts = mustEncrypt || this.mustEncrypt(room, to);
    const id = `${this.prefix}-${this.lastId + 1}`;
    const length = byteLength(JSON.stringify(body));
    const overhead = byteLength(
      JSON.stringify(this.fields(id, room, scalarValues(to), { body: "", cipher: "" })),
    );
    const size =
      overhead + (encrypts ? Math.ceil(((byteLength(body) + 16) * 4) / 3) + ENCRYPTED_OVERHEAD : length);
    const limit = Math.min(FRAME_LIMIT, this.limits.frame);
    if (size > limit)
      return { problem: `Not sent: it takes ${size} bytes, and the limit is ${limit}. Send it in parts.` };
    if (this.outbox.hasNoRoomFor(size))
      return { problem: "Not sent: too many messages are waiting. Try again when the connection is back." };
    this.lastId += 1;
    this.outbox.add(new OutgoingMessage(id, room, scalarValues(to), body, encrypts, size));
    return { id };
  }

  isOwnId(id: string): boolean {
    return id.startsWith(`${this.prefix}-`);
  }

  /** Join a room, now and after each reconnect; the answer is `entered` and `users`, or `refused`. */
  join(room: string): boolean {
    if (!this.rooms.join(room)) return false;
    if (this.state === "welcomed") {
      this.flush(); // messages typed before come first
      this.requestUsers({ reason: "join", room, conversation: "" }, { type: "join", room });
    }
    return true;
  }

  /** Leave a room; the answer is `parted`. */
  part(room: string): void {
    if (this.state === "welcomed") {
      this.rooms.part(room);
      this.flush();
      this.sendFields({ type: "part", room });
    } else this.emit(this.rooms.leaveOffline(room));
  }

  setTopic(room: string, topic: string): void {
    this.sendAfterMessages({ type: "topic", room, topic: scalarValues(topic) });
  }

  /** Request the newest `limit` messages, or those below `before`; the answer is `history`, or `refused`. */
  getHistory(room: string, limit: number, before?: number): void {
    const clamped = Math.max(1, Math.min(limit, this.limits.history));
    this.sendAfterMessages({
      type: "history",
      room,
      ...(before === undefined ? {} : { before }),
      limit: clamped,
    });
  }

  getUsers(room: string, conversation: string): void {
    this.flush();
    this.requestUsers({ reason: "users", room, conversation: conversation }, { type: "users", room });
  }

  getRooms(): void {
    this.sendAfterMessages({ type: "rooms" });
  }

  ping(): void {
    if (this.state !== "offline") this.sendFields({ type: "ping" });
  }

  /** Mark direct messages as read. */
  markWhispersRead(messages: Iterable<Message>): void {
    for (const { to, seq } of messages) this.inboxes.get(nameKey(to))?.markRead(seq);
    this.acknowledgeWhispers();
  }

  /** Send again the messages that the server could not store. */
  retry(): void {
    this.outbox.retry();
    this.flush();
  }

  bye(): void {
    if (this.state !== "welcomed") return;
    this.flush();
    this.sendFields({ type: "bye" });
    this.state = "leaving";
  }

  /** Send queued messages, as far as the window allows. */
  flush(): void {
    while (this.state === "welcomed" && !this.isEncrypting) {
      const message = this.outbox.next(this.limits.unacknowledged, (one) => this.isReady(one));
      if (!message) return;
      this.encodeAndSend(message);
    }
  }

  // -- to the server -----------------------------------------------------------------------------------

  private sendHello(password: string): void {
    const { name, secret, beside } = this.hello;
    // Null prototype: a room may be named __proto__.
    const rooms: Record<string, number> = Object.create(null);
    const fields: Fields = { type: "hello", version: VERSION, name: scalarValues(name), client: secret };
    if (beside) fields.beside = true;
    if (password) fields.password = scalarValues(password);
    if (this.log !== null) {
      fields.resume = { log: this.log, rooms };
      let left = HELLO_LIMIT - byteLength(JSON.stringify(fields));
      for (const room of this.rooms.all) {
        if (!room.isMember) continue;
        // Counts a comma for the two braces.
        left -= byteLength(JSON.stringify({ [room.name]: room.order.position }));
        if (left < 0) break;
        rooms[room.name] = room.order.position;
      }
    }
    this.sendFields(fields);
    this.rooms.connectionMade(new Set(Object.keys(rooms)));
  }

  private sendAfterMessages(fields: Fields): void {
    this.flush();
    this.sendFields(fields);
  }

  private requestUsers(request: UsersRequest, fields: Fields): void {
    this.rooms.expectUsers(request);
    this.sendFields(fields);
  }

  /** Request the members of a room. */
  private requestMembers(room: Room): void {
    if (this.rooms.isExpecting("refresh", room.name)) return;
    this.requestUsers(
      { reason: "refresh", room: room.name, conversation: "" },
      { type: "users", room: room.name },
    );
  }

  private acknowledgeWhispers(): void {
    const { readPosition: through } = this.inbox;
    if (through <= this.acknowledgedWhisper || this.state !== "welcomed") return;
    this.sendFields({ type: "ack", whisper: through });
    this.acknowledgedWhisper = through;
  }

  private sendFields(fields: Fields): void {
    this.sendText(JSON.stringify(fields));
  }

  private fields(id: string, room: string, to: string, encoded: EncodedBody): Fields {
    const where = room ? { type: "say", room } : { type: "whisper", to };
    return { ...where, id, body: encoded.body, ...(encoded.cipher ? { cipher: encoded.cipher } : {}) };
  }

  /** Commands to the server stay unencrypted, because it has to read them. */
  private mustEncrypt(room: string, to: string): boolean {
    return nameKey(to) !== SERVER && this.encryptor.isEnabled(room, to);
  }

  private isReady(message: OutgoingMessage): boolean {
    if (message.to || !this.mustEncrypt(message.room, "")) return true;
    // The salt must be the one of this connection.
    const room = this.rooms.get(message.room);
    return !room || room.presence === "parting" || room.presence === "joined";
  }

  private encodeAndSend(message: OutgoingMessage): void {
    if (!this.mustEncrypt(message.room, message.to)) {
      if (message.mustEncrypt)
        this.rejectLocally(message, "locked", "the passphrase was removed before it could be sent");
      else this.sendEncoded(message, { body: message.body, cipher: "" });
      return;
    }
    const room = message.to ? undefined : this.rooms.get(message.room);
    if (!message.to && room?.presence !== "joined") {
      this.rejectLocally(
        message,
        "not-in-room",
        `you are not in the room ${message.room}. Type /join ${message.room}`,
      );
      return;
    }
    const connection = this.connectionNumber;
    this.isEncrypting = true;
    const salt = room?.salt ?? this.salt;
    this.encryptor.encrypt(room?.name ?? "", salt, message.to, this.name, message.body).then(
      (written) => this.finishEncryption(message, connection, () => this.sendEncoded(message, written)),
      (error) =>
        this.finishEncryption(message, connection, () =>
          this.rejectLocally(message, "locked", problemOf(error)),
        ),
    );
  }

  /** Finish an encryption. No message overtook it, but the connection may be a new one. */
  private finishEncryption(message: OutgoingMessage, connection: number, then: () => void): void {
    if (this.connectionNumber !== connection || this.state === "offline") return;
    this.isEncrypting = false;
    if (this.outbox.get(message.id) === message) then();
    this.flush();
  }

  private sendEncoded(message: OutgoingMessage, encoded: EncodedBody): void {
    const payload = JSON.stringify(this.fields(message.id, message.room, message.to, encoded));
    const size = byteLength(payload);
    message.recordSent(encoded);
    if (size <= this.limits.frame) this.sendText(payload);
    else
      this.rejectLocally(
        message,
        "too-long",
        `it takes ${size} bytes, and the limit is ${this.limits.frame}`,
      );
  }

  private rejectLocally(message: OutgoingMessage, code: string, text: string): void {
    this.outbox.drop(message);
    const { id, room, to } = message;
    this.emit([{ type: "refused", code, text, id, room, to, retryAfter: 0, until: null }]);
  }

  // -- from the server ---------------------------------------------------------------------------------

  private handle(kind: string, fields: Fields): Event[] {
    switch (kind) {
      case "welcome":
        return this.handleWelcome(fields);
      case "said":
        return this.handleSaid(fields);
      case "whispered":
        return this.handleWhispered(fields);
      case "ack":
        return this.handleAck(fields);
      case "error":
        return this.handleError(fields);
      case "joined":
      case "left": {
        const [room, total] = [wire.text(fields, "room"), wire.integer(fields, "total")];
        return this.rooms[kind](room, wire.names(fields), total, this.name);
      }
      case "topic":
        return this.rooms.topic(
          wire.text(fields, "room"),
          wire.text(fields, "topic", wire.MAX_TEXT),
          wire.text(fields, "from"),
          wire.seconds(fields, "at"),
        );
      case "users":
        return this.rooms.handleUsers({
          room: wire.text(fields, "room"),
          names: wire.names(fields),
          total: wire.integer(fields, "total"),
          topic: wire.text(fields, "topic", wire.MAX_TEXT),
          seq: wire.integer(fields, "seq"),
          salt: wire.optionalText(fields, "salt"),
        });
      case "rooms": {
        const rooms = wire.objects(fields, "rooms").map(wire.summary);
        return [{ type: "rooms", rooms, total: wire.integer(fields, "total") }];
      }
      case "history":
        return this.handleHistory(fields);
      case "gap":
        return this.handleGap(fields);
      case "ping": {
        const token = wire.optionalText(fields, "token");
        if (this.state !== "leaving") this.sendFields({ type: "pong", ...(token ? { token } : {}) });
        return [];
      }
      case "bye":
        return [
          {
            type: "bye",
            reason: wire.text(fields, "reason"),
            retryAfter: wire.optionalSeconds(fields, "retry_after"),
            until: wire.optionalSeconds(fields, "until"),
          },
        ];
      default:
        return [];
    }
  }

  private handleWelcome(fields: Fields): Event[] {
    if (this.state !== "greeting" && this.state !== "authenticating") return [];
    const name = wire.text(fields, "name");
    const log = wire.text(fields, "log");
    const server = wire.text(fields, "server");
    const kept = wire.integer(fields, "whispers");
    const summaries: RoomSummary[] = wire.objects(fields, "rooms").map(wire.summary);
    const salt = wire.optionalText(fields, "salt");
    const isReconnect = this.log !== null;
    const isRenumbered = isReconnect && this.log !== log;
    this.state = "welcomed";
    if (isRenumbered) this.inboxes.clear();
    this.inbox = this.inboxes.get(nameKey(name)) ?? new Inbox();
    this.inboxes.set(nameKey(name), this.inbox);
    this.missedWhispers = kept;
    [this.name, this.server, this.log, this.salt] = [name, server, log, salt];
    this.limits = limitsOf(fields.limits, this.limits);
    const events = isRenumbered ? this.rooms.renumber() : [];
    const { wanted: remaining, unwanted } = this.rooms.partition(summaries);
    for (const room of unwanted) this.sendFields({ type: "part", room });
    const isRolledBack = isRenumbered || this.rooms.isRolledBack(remaining);
    events.push(...this.rooms.rewind(remaining));
    events.push({
      type: "welcomed",
      name,
      server,
      rooms: remaining,
      isReconnect: isReconnect,
      isRenumbered: isRenumbered,
      isRolledBack: isRolledBack,
    });
    events.push(...this.rooms.applyWelcome(remaining));
    for (const room of this.rooms.all) {
      if (room.presence === "joining")
        this.requestUsers(
          { reason: "join", room: room.name, conversation: "" },
          { type: "join", room: room.name },
        );
      else if (room.presence === "resuming") {
        const after = room.order.position;
        this.requestUsers(
          { reason: "resume", room: room.name, conversation: "" },
          { type: "join", room: room.name, after },
        );
      } else this.requestMembers(room);
    }
    return events;
  }

  private handleSaid(fields: Fields): Event[] {
    const room = this.rooms.get(wire.text(fields, "room"));
    const message = wire.message(fields, room?.name ?? "");
    if (!room || room.presence === "joining") return [];
    message.isOwn = this.isOwn(message);
    message.isMissed = message.seq <= room.missedThrough;
    const events: Event[] = [];
    const pending = message.isOwn ? this.outbox.get(message.id) : undefined;
    if (pending && pending.key === nameKey(room.name)) {
      // The server stored it, and the connection broke before the ack arrived.
      this.outbox.acknowledge(pending);
      events.push({
        type: "acked",
        id: pending.id,
        room: room.name,
        to: "",
        seq: message.seq,
        at: message.at,
        encoded: null,
      });
    }
    room.order.add(message, false);
    return [...events, ...this.deliver(room)];
  }

  private handleWhispered(fields: Fields): Event[] {
    const to = wire.text(fields, "to");
    const seq = wire.integer(fields, "seq");
    const message = { ...wire.message({ ...fields, seq: Math.max(seq, 1) }, ""), to, seq };
    message.isOwn = this.isOwn(message);
    message.isMissed = this.missedWhispers > 0 && seq > 0;
    if (message.isMissed) this.missedWhispers -= 1;
    const isToSelf = nameKey(message.from) === nameKey(this.name); // a message to oneself
    if (seq > 0 && !this.inbox.add(seq, isToSelf)) return [];
    return [{ type: "whispered", message }];
  }

  private handleAck(fields: Fields): Event[] {
    const id = wire.text(fields, "id");
    const seq = wire.integer(fields, "seq");
    const at = wire.seconds(fields, "at");
    const name = wire.optionalText(fields, "room");
    const message = this.outbox.get(id);
    if (!message) return []; // already acknowledged, by another ack or by its `said`
    this.outbox.acknowledge(message);
    const { body, to } = message;
    const room = message.room ? this.rooms.get(name || message.room) : undefined;
    const events: Event[] = [
      { type: "acked", id, room: message.room, to, seq, at, encoded: message.sentOnceAs },
    ];
    if (room && room.presence !== "joining") {
      const cipher = "";
      const own = {
        room: room.name,
        to: "",
        from: this.name,
        seq,
        at,
        id,
        body,
        cipher,
        isOwn: true,
        isMissed: false,
      };
      room.order.add(own, true);
      events.push(...this.deliver(room));
    }
    return events;
  }

  private handleError(fields: Fields): Event[] {
    const code = wire.text(fields, "code");
    const text = wire.text(fields, "message", wire.MAX_TEXT);
    const [id, room, to] = ["id", "room", "to"].map((field) => wire.optionalText(fields, field)) as [
      string,
      string,
      string,
    ];
    const retryAfter = wire.optionalSeconds(fields, "retry_after") ?? 0;
    const until = wire.optionalSeconds(fields, "until");
    const refused: Event = { type: "refused", code, text, id, room, to, retryAfter, until };
    const message = id ? this.outbox.get(id) : undefined;
    const events: Event[] = [];
    if (message && code === "not-stored") {
      if (this.outbox.defer(message)) events.push({ type: "not-stored", text });
      return events;
    }
    if (message) {
      this.outbox.drop(message);
      const affected = message.room ? this.rooms.get(message.room) : undefined;
      events.push(refused, ...(affected ? this.deliver(affected) : []));
    } else events.push(refused);
    if (room) events.push(...this.rooms.handleError(code, room, id !== ""));
    return events;
  }

  private handleHistory(fields: Fields): Event[] {
    const room = wire.text(fields, "room");
    const messages = wire.objects(fields, "messages").map((one) => wire.message(one, room));
    for (const message of messages) message.isOwn = this.isOwn(message);
    return [{ type: "history", room, messages, more: fields.more === true }];
  }

  private handleGap(fields: Fields): Event[] {
    const [after, before] = [wire.integer(fields, "after"), wire.integer(fields, "before")];
    const room = this.rooms.get(wire.text(fields, "room"));
    if (!room || room.presence === "joining") return [];
    this.requestMembers(room);
    room.order.addGap(after, before);
    return this.deliver(room);
  }

  private isOwn(message: Message): boolean {
    return this.isOwnId(message.id) && nameKey(message.from) === nameKey(this.name);
  }

  private deliver(room: Room): Event[] {
    return this.eventsOf(room, room.order.release(this.outbox.hasSentTo(nameKey(room.name))));
  }

  private eventsOf(room: Room, deliveries: Delivery[]): Event[] {
    return deliveries.map((one) =>
      "message" in one
        ? { type: "message", message: { ...one.message, room: room.name } }
        : { type: "gap", room: room.name, ...one },
    );
  }
}

/** Return the limits of a welcome; missing or invalid ones stay as before. */
function limitsOf(value: unknown, before: Limits): Limits {
  const fields = typeof value === "object" && value !== null ? (value as Fields) : {};
  const found = { ...before };
  for (const name of Object.keys(found) as (keyof Limits)[]) {
    const limit = fields[name];
    if (typeof limit === "number" && Number.isSafeInteger(limit) && limit > 0) found[name] = limit;
  }
  return found;
}

function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
