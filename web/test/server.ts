// In-process server of the selchat protocol, as far as docs/protocol.rst requires, for the pages under test.

import { nameKey } from "../src/core/text.ts";
import type { Peer } from "./world.ts";

type Fields = Record<string, unknown>;
interface Said {
  from: string;
  seq: number;
  at: number;
  id?: string;
  body: string;
  cipher?: string;
}

interface Room {
  name: string;
  topic: string;
  salt: string;
  said: Said[]; // the messages that the log still has
  seq: number;
  members: Set<Session>;
}

const SALT = "AAECAwQFBgcICQoLDA0OD";

export class Server {
  log = "log-1";
  at = 1_000_000_000;
  isFailing = false; // it cannot store anything
  password = "";
  window = 1024; // limits.unacknowledged
  mostUnacknowledged = 0; // the maximum that a client reached
  readonly received: Fields[] = [];
  readonly rooms = new Map<string, Room>();
  readonly sessions = new Set<Session>();
  readonly stored = new Map<string, Map<string, Fields>>(); // by client: acks by id
  readonly inboxes = new Map<string, { seq: number; kept: Fields[] }>(); // by key of the name
  readonly owners = new Map<string, string>(); // owners (clients) of names, by key
  private salts = 0;

  readonly accept = (send: (message: unknown) => void, close: () => void): Peer =>
    new Session(this, send, close);

  room(name: string): Room {
    let room = this.rooms.get(nameKey(name));
    if (!room) {
      const salt = `${SALT}${"AQgw"[this.salts % 4]}`;
      this.salts += 1;
      room = { name, topic: "", salt, said: [], seq: 0, members: new Set() };
      this.rooms.set(nameKey(name), room);
    }
    return room;
  }

  /** Add a message of a user without a page. */
  say(room: string, from: string, body: string, more: Fields = {}): number {
    return this.store(this.room(room), { from, body, ...more }, null);
  }

  store(room: Room, said: Omit<Said, "seq" | "at">, author: Session | null): number {
    room.seq += 1;
    const message = { ...said, seq: room.seq, at: this.at };
    room.said.push(message);
    for (const session of room.members) {
      if (session !== author) session.send({ type: "said", room: room.name, ...message });
    }
    return room.seq;
  }

  whisper(to: string, from: string, body: string, more: Fields = {}): number {
    const inbox = this.inboxes.get(nameKey(to)) ?? { seq: 0, kept: [] };
    this.inboxes.set(nameKey(to), inbox);
    inbox.seq += 1;
    const whispered = { type: "whispered", from, to, seq: inbox.seq, at: this.at, body, ...more };
    inbox.kept.push(whispered);
    this.sessionOf(to)?.send(whispered);
    return inbox.seq;
  }

  sessionOf(name: string): Session | undefined {
    return [...this.sessions].find((session) => nameKey(session.name) === nameKey(name));
  }

  /** Lose all data, as with a new disk. */
  loseData(): void {
    this.log = `${this.log}+`;
    this.rooms.clear();
    this.inboxes.clear();
    this.stored.clear();
  }

  /** Remove the oldest messages. */
  trim(room: string, from: number): void {
    const place = this.room(room);
    place.said = place.said.filter((said) => said.seq >= from);
  }
}

export class Session implements Peer {
  name = "";
  client = "";
  private isOver = false;

  constructor(
    private readonly server: Server,
    private readonly tell: (message: unknown) => void,
    private readonly close: () => void,
  ) {}

  send(message: unknown): void {
    if (!this.isOver) this.tell(message);
  }

  bye(reason: string, retry_after: number | null): void {
    this.send({ type: "bye", reason, retry_after });
    this.closed();
    this.close();
  }

  closed(): void {
    this.isOver = true;
    this.server.sessions.delete(this);
    for (const room of this.server.rooms.values()) this.leave(room);
  }

  receive(text: string): void {
    const fields: Fields = JSON.parse(text);
    this.server.received.push(fields);
    if (this.isOver) return;
    const handle = this[`handle_${fields.type}` as keyof this] as ((fields: Fields) => void) | undefined;
    if (!this.name && fields.type !== "hello")
      this.send({ type: "error", code: "not-hello", message: "say hello" });
    else handle?.call(this, fields);
  }

  handle_hello({ name, client, resume, beside, password }: Fields): void {
    const { server } = this;
    const refuse = (code: string) => this.send({ type: "error", code, message: `no: ${code}` });
    if (server.password && password !== server.password)
      return refuse(password ? "wrong-password" : "password-needed");
    let wanted = String(name);
    const owner = server.owners.get(nameKey(wanted));
    if (owner && owner !== client) return refuse("name-taken");
    const present = server.sessionOf(wanted);
    if (present && beside) for (let n = 2; server.sessionOf(wanted); n += 1) wanted = `${name}_${n}`;
    else present?.bye("replaced", null);
    if (wanted === name) server.owners.set(nameKey(wanted), String(client));
    [this.name, this.client] = [wanted, String(client)];
    server.sessions.add(this);
    const from = resume as { log: string; rooms: Record<string, number> } | undefined;
    const rooms = from ? Object.keys(from.rooms) : ["lobby"];
    const inbox = server.inboxes.get(nameKey(wanted));
    this.send({
      type: "welcome",
      version: 1,
      name: wanted,
      log: server.log,
      server: "model",
      rooms: rooms.map((room) => {
        const { name: spelt, seq, topic, salt, members } = server.room(room);
        return { room: spelt, seq, topic, members: members.size + 1, salt };
      }),
      whispers: inbox?.kept.length ?? 0,
      salt: `${SALT}w`,
      limits: { frame: 65536, unacknowledged: server.window, history: 1000 },
    });
    for (const room of rooms) {
      this.enter(server.room(room));
      if (from) this.catchUp(server.room(room), from.log === server.log ? (from.rooms[room] as number) : 0);
    }
    for (const whispered of inbox?.kept ?? []) this.send(whispered);
  }

  handle_say({ room, id, body, cipher }: Fields): void {
    const place = this.server.rooms.get(nameKey(String(room)));
    if (!place?.members.has(this)) {
      const message = `you are not in the room ${room}; join it first`;
      return this.send({ type: "error", code: "not-in-room", message, id, room });
    }
    this.once(String(id), { room: place.name }, () =>
      this.server.store(
        place,
        {
          from: this.name,
          body: String(body),
          id: String(id),
          ...(cipher ? { cipher: String(cipher) } : {}),
        },
        this,
      ),
    );
  }

  handle_whisper({ to, id, body, cipher }: Fields): void {
    const name = String(to);
    if (!this.server.sessionOf(name) && !this.server.owners.has(nameKey(name))) {
      return this.send({
        type: "error",
        code: "no-such-name",
        message: `there is no one named ${name}`,
        id,
        to,
      });
    }
    this.once(String(id), { to: name }, () =>
      this.server.whisper(name, this.name, String(body), { id, ...(cipher ? { cipher } : {}) }),
    );
  }

  handle_join({ room, after }: Fields): void {
    const place = this.server.room(String(room));
    const isNew = !place.members.has(this);
    this.enter(place);
    this.users(place);
    if (isNew && typeof after === "number") this.catchUp(place, after);
  }

  handle_part({ room }: Fields): void {
    const place = this.server.room(String(room));
    if (!place.members.has(this)) {
      return this.send({ type: "error", code: "not-in-room", message: "you are not there", room });
    }
    this.leave(place);
    this.send({ type: "left", room: place.name, names: [this.name], total: place.members.size });
  }

  handle_topic({ room, topic }: Fields): void {
    const place = this.server.room(String(room));
    place.topic = String(topic);
    for (const session of place.members) {
      session.send({ type: "topic", room: place.name, topic, from: this.name, at: this.server.at });
    }
  }

  handle_history({ room, before, limit }: Fields): void {
    const place = this.server.room(String(room));
    const below = place.said.filter((said) => before === undefined || said.seq < Number(before));
    const messages = below.slice(-Number(limit));
    this.send({ type: "history", room: place.name, messages, more: below.length > messages.length });
  }

  handle_users({ room }: Fields): void {
    const place = this.server.rooms.get(nameKey(String(room)));
    if (place) this.users(place);
    else this.send({ type: "error", code: "no-such-room", message: `there is no room ${room}`, room });
  }

  handle_rooms(): void {
    const rooms = [...this.server.rooms.values()].map(({ name, members, topic, seq }) => {
      return { room: name, members: members.size, topic, seq };
    });
    this.send({ type: "rooms", rooms, total: rooms.length });
  }

  handle_ack({ whisper }: Fields): void {
    const inbox = this.server.inboxes.get(nameKey(this.name));
    if (inbox) inbox.kept = inbox.kept.filter((kept) => Number(kept.seq) > Number(whisper));
  }

  handle_ping({ token }: Fields): void {
    this.send({ type: "pong", ...(token ? { token } : {}) });
  }

  handle_bye(): void {
    this.bye("goodbye", null);
  }

  // ------------------------------------------------------------------------------------------------------

  private once(id: string, where: Fields, store: () => number): void {
    const acks = this.server.stored.get(this.client) ?? new Map<string, Fields>();
    this.server.stored.set(this.client, acks);
    if (this.server.isFailing) {
      return this.send({ type: "error", code: "not-stored", message: "the disk is full", id, ...where });
    }
    if (!acks.has(id)) acks.set(id, { type: "ack", id, ...where, seq: store(), at: this.server.at });
    this.send(acks.get(id));
  }

  private enter(room: Room): void {
    if (room.members.has(this)) return;
    for (const session of room.members) {
      session.send({ type: "joined", room: room.name, names: [this.name], total: room.members.size + 1 });
    }
    room.members.add(this);
  }

  private leave(room: Room): void {
    if (!room.members.delete(this)) return;
    for (const session of room.members) {
      session.send({ type: "left", room: room.name, names: [this.name], total: room.members.size });
    }
  }

  private users(room: Room): void {
    const names = [...room.members].map((session) => session.name).sort();
    const { name, topic, seq, salt } = room;
    this.send({ type: "users", room: name, names, total: names.length, topic, seq, salt });
  }

  private catchUp(room: Room, after: number): void {
    const first = room.said[0]?.seq ?? room.seq + 1;
    if (first > after + 1) this.send({ type: "gap", room: room.name, after, before: first });
    for (const said of room.said) if (said.seq > after) this.send({ type: "said", room: room.name, ...said });
  }
}
