// A client of the selchat protocol (docs/protocol.rst) without a socket: calls to messages, and messages to events.
// One of these outlives any connection: it keeps what was said until the server has acknowledged it, says it again
// after a break with the same id, and knows in each room how far it has heard. It must not know what time it is.

import type { Event, Message, RoomSummary, Written } from "./events.ts";
import { Inbox } from "./inbox.ts";
import type { Given } from "./order.ts";
import { Outbound, Outgoing } from "./outbound.ts";
import * as reading from "./reading.ts";
import { BadMessage, type Fields } from "./reading.ts";
import { type Asked, type Room, Rooms } from "./rooms.ts";
import { byteLength, nameKey, scalarValues } from "./text.ts";

const VERSION = 1;
const HELLO_LIMIT = 4096; // bytes
const FRAME_LIMIT = 65_536; // bytes that are sent, whatever the server allows
const SERVER = "server"; // the key of who takes commands
const SEALED_MORE = 120; // bytes of a sealed message besides its body

/** The end-to-end encryption, as far as what is said needs it; the vault has the rest. */
export interface Sealing {
  /** Whether what is said there is to be encrypted: a room's name, or else whom it is for. */
  wants(room: string, to: string): boolean;
  seal(room: string, salt: string, to: string, sender: string, text: string): Promise<Written>;
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
 * offline   no connection                               -> greeting by `connectionMade`
 * greeting  hello is said, and not yet answered         -> welcomed; proving by `tellPassword`
 * proving   hello is said again, with the password      -> welcomed
 * welcomed  everything goes                             -> leaving by `bye`
 * leaving   bye is said; what still comes is taken      (the server closes)
 *
 * From each of them `connectionLost` leads to offline.
 */
type State = "offline" | "greeting" | "proving" | "welcomed" | "leaving";

/** `send` takes a message for the connection that there is; `tell` is called for what happens, in order. */
export class Client {
  state: State = "offline";
  name = ""; // as the server has cleaned it
  server = "";
  limits: Limits = { frame: FRAME_LIMIT, unacknowledged: 64, history: 1000, topic: 256 };
  salt = ""; // of whispers
  readonly outbound = new Outbound();
  readonly rooms = new Rooms((room, given) => this.placed(room, given));
  private hello: Hello = { name: "", secret: "", password: "", beside: false };
  private log: string | null = null; // null: never welcomed
  private inboxes = new Map<string, Inbox>(); // by key of the name: each has numbers of its own
  private inbox = new Inbox(); // of this name
  private kept = 0; // whispers that are still to come from before this connection
  private confirmed = 0; // the seq up to which they were confirmed on this connection
  private count = 0;
  private connection = 0; // how many there were
  private isSealing = false;

  /** `prefix` is what the ids made here begin with: unique, as the same secret may be used by others. */
  constructor(
    private readonly prefix: string,
    private readonly sealing: Sealing,
    private readonly send: (message: string) => void,
    private readonly tell: (events: Event[]) => void,
  ) {}

  // -- the connection ----------------------------------------------------------------------------------

  connectionMade(hello: Hello): void {
    this.hello = hello;
    this.state = "greeting";
    this.connection += 1;
    this.greet("");
  }

  /** Say hello again, with the password; false: there is none, or it was said already. */
  tellPassword(): boolean {
    if (this.state !== "greeting" || !this.hello.password) return false;
    this.state = "proving";
    this.greet(this.hello.password);
    return true;
  }

  connectionLost(): void {
    if (this.state === "offline") return;
    this.state = "offline";
    this.confirmed = 0;
    this.isSealing = false;
    this.outbound.connectionLost();
    this.tell(this.rooms.connectionLost());
  }

  /** Take what has come; whatever it is, it gives events or nothing. */
  receive(data: unknown): void {
    const fields = reading.parse(data);
    if (!fields || this.state === "offline") return;
    const kind = fields.type as string;
    const outside = this.state === "greeting" || this.state === "proving";
    if (outside && !["welcome", "error", "bye", "ping"].includes(kind)) return;
    let events: Event[];
    try {
      events = this.take(kind, fields);
    } catch (error) {
      if (error instanceof BadMessage) return; // what is missing then is a gap
      throw error;
    }
    this.tell(events);
    this.confirm();
    this.fill();
  }

  // -- talking -----------------------------------------------------------------------------------------

  /** Say it, now or when that can be; returns its id, or why not. `secret`: in the clear it goes nowhere. */
  say(room: string, to: string, text: string, secret = false): { id: string } | { problem: string } {
    const body = scalarValues(text);
    const sealed = secret || this.wantsSealing(room, to);
    const id = `${this.prefix}-${this.count + 1}`;
    const length = byteLength(JSON.stringify(body));
    const form = byteLength(
      JSON.stringify(this.fields(id, room, scalarValues(to), { body: "", cipher: "" })),
    );
    const size = form + (sealed ? Math.ceil(((byteLength(body) + 16) * 4) / 3) + SEALED_MORE : length);
    const most = Math.min(FRAME_LIMIT, this.limits.frame);
    if (size > most) return { problem: `not sent: ${size} bytes, and the limit is ${most}` };
    if (this.outbound.isFullFor(size)) return { problem: "not sent: too much waits to be sent already" };
    this.count += 1;
    this.outbound.add(new Outgoing(id, room, scalarValues(to), body, sealed, size));
    return { id };
  }

  isOwnId(id: string): boolean {
    return id.startsWith(`${this.prefix}-`);
  }

  /** Enter a room, now and after each break; the answer is `entered` and `users`, or `refused`. */
  join(room: string): boolean {
    if (!this.rooms.join(room)) return false;
    if (this.state === "welcomed") {
      this.fill(); // as it was said before
      this.ask({ why: "join", room, asker: "" }, { type: "join", room });
    }
    return true;
  }

  /** Leave a room; the answer is `parted`. */
  part(room: string): void {
    if (this.state === "welcomed") {
      this.rooms.part(room);
      this.fill();
      this.put({ type: "part", room });
    } else this.tell(this.rooms.forget(room));
  }

  setTopic(room: string, topic: string): void {
    this.question({ type: "topic", room, topic: scalarValues(topic) });
  }

  /** The newest `limit` messages, or those below `before`; the answer is `history`, or `refused`. */
  getHistory(room: string, limit: number, before?: number): void {
    const most = Math.max(1, Math.min(limit, this.limits.history));
    this.question({ type: "history", room, ...(before === undefined ? {} : { before }), limit: most });
  }

  getUsers(room: string, asker: string): void {
    this.fill();
    this.ask({ why: "users", room, asker }, { type: "users", room });
  }

  getRooms(): void {
    this.question({ type: "rooms" });
  }

  ping(): void {
    if (this.state !== "offline") this.put({ type: "ping" });
  }

  /** These whispers were read. */
  readWhispers(messages: Iterable<Message>): void {
    for (const { to, seq } of messages) this.inboxes.get(nameKey(to))?.read(seq);
    this.confirm();
  }

  /** Say again what the server could not store. */
  retry(): void {
    this.outbound.retry();
    this.fill();
  }

  bye(): void {
    if (this.state !== "welcomed") return;
    this.fill();
    this.put({ type: "bye" });
    this.state = "leaving";
  }

  /** Send what was said, as far as the window allows. */
  fill(): void {
    while (this.state === "welcomed" && !this.isSealing) {
      const message = this.outbound.next(this.limits.unacknowledged, (one) => this.isReady(one));
      if (!message) return;
      this.write(message);
    }
  }

  // -- to the server -----------------------------------------------------------------------------------

  private greet(password: string): void {
    const { name, secret, beside } = this.hello;
    const rooms: Record<string, number> = Object.create(null); // a room may be called __proto__
    const fields: Fields = { type: "hello", version: VERSION, name: scalarValues(name), client: secret };
    if (beside) fields.beside = true;
    if (password) fields.password = scalarValues(password);
    if (this.log !== null) {
      fields.resume = { log: this.log, rooms };
      let left = HELLO_LIMIT - byteLength(JSON.stringify(fields));
      for (const room of this.rooms.all) {
        if (!room.wasIn) continue;
        left -= byteLength(JSON.stringify({ [room.name]: room.order.through })); // with a comma, not two braces
        if (left < 0) break;
        rooms[room.name] = room.order.through;
      }
    }
    this.put(fields);
    this.rooms.connectionMade(new Set(Object.keys(rooms)));
  }

  private question(fields: Fields): void {
    this.fill();
    this.put(fields);
  }

  private ask(asked: Asked, fields: Fields): void {
    this.rooms.expect(asked);
    this.put(fields);
  }

  /** Ask who is in the room. */
  private refresh(room: Room): void {
    if (this.rooms.isExpecting("refresh", room.name)) return;
    this.ask({ why: "refresh", room: room.name, asker: "" }, { type: "users", room: room.name });
  }

  private confirm(): void {
    const { through } = this.inbox;
    if (through <= this.confirmed || this.state !== "welcomed") return;
    this.put({ type: "ack", whisper: through });
    this.confirmed = through;
  }

  private put(fields: Fields): void {
    this.send(JSON.stringify(fields));
  }

  private fields(id: string, room: string, to: string, written: Written): Fields {
    const where = room ? { type: "say", room } : { type: "whisper", to };
    return { ...where, id, body: written.body, ...(written.cipher ? { cipher: written.cipher } : {}) };
  }

  /** A command for the server has to be understood there. */
  private wantsSealing(room: string, to: string): boolean {
    return nameKey(to) !== SERVER && this.sealing.wants(room, to);
  }

  private isReady(message: Outgoing): boolean {
    if (message.to || !this.wantsSealing(message.room, "")) return true;
    // The salt is the one of this connection.
    const room = this.rooms.get(message.room);
    return !room || room.presence === "parting" || room.presence === "joined";
  }

  private write(message: Outgoing): void {
    if (!this.wantsSealing(message.room, message.to)) {
      if (message.sealed) this.refuse(message, "locked", "the passphrase was taken away before it was sent");
      else this.sendAs(message, { body: message.body, cipher: "" });
      return;
    }
    const room = message.to ? undefined : this.rooms.get(message.room);
    if (!message.to && room?.presence !== "joined") {
      this.refuse(message, "not-in-room", `you are not in the room ${message.room}; join it first`);
      return;
    }
    const connection = this.connection;
    this.isSealing = true;
    const salt = room?.salt ?? this.salt;
    this.sealing.seal(room?.name ?? "", salt, message.to, this.name, message.body).then(
      (written) => this.sealed(message, connection, () => this.sendAs(message, written)),
      (error) => this.sealed(message, connection, () => this.refuse(message, "locked", problemOf(error))),
    );
  }

  /** Nothing was sent meanwhile, as nothing overtakes; but the connection may be another one. */
  private sealed(message: Outgoing, connection: number, then: () => void): void {
    if (this.connection !== connection || this.state === "offline") return;
    this.isSealing = false;
    if (this.outbound.get(message.id) === message) then();
    this.fill();
  }

  private sendAs(message: Outgoing, written: Written): void {
    const payload = JSON.stringify(this.fields(message.id, message.room, message.to, written));
    const size = byteLength(payload);
    message.wrote(written);
    if (size <= this.limits.frame) this.send(payload);
    else this.refuse(message, "too-long", `${size} bytes, and the limit is ${this.limits.frame}`);
  }

  private refuse(message: Outgoing, code: string, text: string): void {
    this.outbound.drop(message);
    const { id, room, to } = message;
    this.tell([{ is: "refused", code, text, id, room, to, retryAfter: 0 }]);
  }

  // -- from the server ---------------------------------------------------------------------------------

  private take(kind: string, fields: Fields): Event[] {
    switch (kind) {
      case "welcome":
        return this.takeWelcome(fields);
      case "said":
        return this.takeSaid(fields);
      case "whispered":
        return this.takeWhispered(fields);
      case "ack":
        return this.takeAck(fields);
      case "error":
        return this.takeError(fields);
      case "joined":
      case "left": {
        const [room, total] = [reading.text(fields, "room"), reading.integer(fields, "total")];
        return this.rooms[kind](room, reading.names(fields), total, this.name);
      }
      case "topic":
        return this.rooms.topic(
          reading.text(fields, "room"),
          reading.text(fields, "topic", reading.TEXT),
          reading.text(fields, "from"),
          reading.seconds(fields, "at"),
        );
      case "users":
        return this.rooms.users({
          room: reading.text(fields, "room"),
          names: reading.names(fields),
          total: reading.integer(fields, "total"),
          topic: reading.text(fields, "topic", reading.TEXT),
          seq: reading.integer(fields, "seq"),
          salt: reading.optionalText(fields, "salt"),
        });
      case "rooms": {
        const rooms = reading.objects(fields, "rooms").map(reading.summary);
        return [{ is: "rooms", rooms, total: reading.integer(fields, "total") }];
      }
      case "history":
        return this.takeHistory(fields);
      case "gap":
        return this.takeGap(fields);
      case "ping": {
        const token = reading.optionalText(fields, "token");
        if (this.state !== "leaving") this.put({ type: "pong", ...(token ? { token } : {}) });
        return [];
      }
      case "bye":
        return [
          {
            is: "bye",
            reason: reading.text(fields, "reason"),
            retryAfter: reading.optionalSeconds(fields, "retry_after"),
          },
        ];
      default:
        return [];
    }
  }

  private takeWelcome(fields: Fields): Event[] {
    if (this.state !== "greeting" && this.state !== "proving") return [];
    const name = reading.text(fields, "name");
    const log = reading.text(fields, "log");
    const server = reading.text(fields, "server");
    const kept = reading.integer(fields, "whispers");
    const found: RoomSummary[] = reading.objects(fields, "rooms").map(reading.summary);
    const salt = reading.optionalText(fields, "salt");
    const again = this.log !== null;
    const renumbered = again && this.log !== log;
    this.state = "welcomed";
    if (renumbered) this.inboxes.clear();
    this.inbox = this.inboxes.get(nameKey(name)) ?? new Inbox();
    this.inboxes.set(nameKey(name), this.inbox);
    this.kept = kept;
    [this.name, this.server, this.log, this.salt] = [name, server, log, salt];
    this.limits = limitsOf(fields.limits, this.limits);
    const events = renumbered ? this.rooms.renumber() : [];
    const { wanted, unwanted } = this.rooms.sort(found);
    for (const room of unwanted) this.put({ type: "part", room });
    const back = renumbered || this.rooms.goesBack(wanted);
    events.push(...this.rooms.rewind(wanted));
    events.push({ is: "welcomed", name, server, rooms: wanted, again, renumbered, back });
    events.push(...this.rooms.welcome(wanted));
    for (const room of this.rooms.all) {
      if (room.presence === "joining")
        this.ask({ why: "join", room: room.name, asker: "" }, { type: "join", room: room.name });
      else if (room.presence === "resuming") {
        const after = room.order.through;
        this.ask({ why: "resume", room: room.name, asker: "" }, { type: "join", room: room.name, after });
      } else this.refresh(room);
    }
    return events;
  }

  private takeSaid(fields: Fields): Event[] {
    const room = this.rooms.get(reading.text(fields, "room"));
    const message = reading.message(fields, room?.name ?? "");
    if (!room || room.presence === "joining") return [];
    message.own = this.isOwn(message);
    message.missed = message.seq <= room.missed;
    const events: Event[] = [];
    const pending = message.own ? this.outbound.get(message.id) : undefined;
    if (pending && pending.key === nameKey(room.name)) {
      // It was stored, and the connection broke before its ack.
      this.outbound.done(pending);
      events.push({
        is: "acked",
        id: pending.id,
        room: room.name,
        to: "",
        seq: message.seq,
        at: message.at,
        written: null,
      });
    }
    room.order.take(message, false);
    return [...events, ...this.released(room)];
  }

  private takeWhispered(fields: Fields): Event[] {
    const to = reading.text(fields, "to");
    const seq = reading.integer(fields, "seq");
    const message = { ...reading.message({ ...fields, seq: Math.max(seq, 1) }, ""), to, seq };
    message.own = this.isOwn(message);
    message.missed = this.kept > 0 && seq > 0;
    if (message.missed) this.kept -= 1;
    const isMine = nameKey(message.from) === nameKey(this.name); // said to oneself
    if (seq > 0 && !this.inbox.take(seq, isMine)) return [];
    return [{ is: "whispered", message }];
  }

  private takeAck(fields: Fields): Event[] {
    const id = reading.text(fields, "id");
    const seq = reading.integer(fields, "seq");
    const at = reading.seconds(fields, "at");
    const name = reading.optionalText(fields, "room");
    const message = this.outbound.get(id);
    if (!message) return []; // it is known already, from another ack or because it came as said
    this.outbound.done(message);
    const { body, to } = message;
    const room = message.room ? this.rooms.get(name || message.room) : undefined;
    const events: Event[] = [{ is: "acked", id, room: message.room, to, seq, at, written: message.only }];
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
        own: true,
        missed: false,
      };
      room.order.take(own, true);
      events.push(...this.released(room));
    }
    return events;
  }

  private takeError(fields: Fields): Event[] {
    const code = reading.text(fields, "code");
    const text = reading.text(fields, "message", reading.TEXT);
    const [id, room, to] = ["id", "room", "to"].map((field) => reading.optionalText(fields, field)) as [
      string,
      string,
      string,
    ];
    const retryAfter = reading.optionalSeconds(fields, "retry_after") ?? 0;
    const refused: Event = { is: "refused", code, text, id, room, to, retryAfter };
    const message = id ? this.outbound.get(id) : undefined;
    const events: Event[] = [];
    if (message && code === "not-stored") {
      if (this.outbound.putOff(message)) events.push({ is: "not-stored", text });
      return events;
    }
    if (message) {
      this.outbound.drop(message);
      const about = message.room ? this.rooms.get(message.room) : undefined;
      events.push(refused, ...(about ? this.released(about) : []));
    } else events.push(refused);
    if (room) events.push(...this.rooms.refused(code, room, id !== ""));
    return events;
  }

  private takeHistory(fields: Fields): Event[] {
    const room = reading.text(fields, "room");
    const messages = reading.objects(fields, "messages").map((one) => reading.message(one, room));
    for (const message of messages) message.own = this.isOwn(message);
    return [{ is: "history", room, messages, more: fields.more === true }];
  }

  private takeGap(fields: Fields): Event[] {
    const [after, before] = [reading.integer(fields, "after"), reading.integer(fields, "before")];
    const room = this.rooms.get(reading.text(fields, "room"));
    if (!room || room.presence === "joining") return [];
    this.refresh(room);
    room.order.takeGap(after, before);
    return this.released(room);
  }

  private isOwn(message: Message): boolean {
    return this.isOwnId(message.id) && nameKey(message.from) === nameKey(this.name);
  }

  private released(room: Room): Event[] {
    return this.placed(room, room.order.release(this.outbound.isSentTo(nameKey(room.name))));
  }

  private placed(room: Room, given: Given[]): Event[] {
    return given.map((one) =>
      "message" in one
        ? { is: "message", message: { ...one.message, room: room.name } }
        : { is: "gap", room: room.name, ...one },
    );
  }
}

/** The limits of a welcome; what is missing there, or makes no sense, is as before. */
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
