// The rooms that one is in, or wants to be in, and the way back into them after a break (as selchat/client/protocol/rooms.py
// and membership.py). It is told what has come, and says what to ask. It knows nothing of what is said there.

import type { Event, RoomSummary } from "./events.ts";
import { type Delivery, ReorderBuffer } from "./order.ts";
import { cleanName, nameKey } from "./text.ts";

const MAX_MEMBERS = 10_000; // names remembered of one room
const MAX_ROOMS = 1024; // rooms remembered; servers allow far less
const ROOM_LENGTH = 32; // characters

/**
 * joining    is asked to be let in, or will be            -> joined; parting by `part`
 * joined     is in, or will be with the welcome           -> resuming after a break; parting by `part`
 * resuming   was in before a break, has no place in the   -> joined; parting by `part`; forgotten when refused
 *            hello, and goes on when it is let in again
 * parting    has asked to be let out                      -> forgotten; rejoining by `join`
 * rejoining  the same, and then to be let in again        -> joining when it is out; parting by `part`
 *
 * A room that one is out of is not remembered.
 */
export type Presence = "joining" | "joined" | "resuming" | "parting" | "rejoining";

export class Room {
  presence: Presence = "joining";
  topic = "";
  total = 0;
  salt = "";
  missedThrough = 0; // the largest seq of what was said while there was no connection
  readonly order = new ReorderBuffer(0);
  private readonly members = new Map<string, string>(); // by key
  private sorted: string[] | null = null;

  constructor(public name: string) {}

  get isJoinWanted(): boolean {
    return this.presence !== "parting";
  }

  get isMember(): boolean {
    return this.presence === "joined" || this.presence === "resuming";
  }

  /** The names that are known, in order. */
  get people(): readonly string[] {
    this.sorted ??= [...this.members.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
    return this.sorted;
  }

  enter(name: string): void {
    this.name = name;
    this.presence = "joined";
  }

  /** Go back where the server has, if it has: one that was put back to a backup counts on from there. */
  rewind(seq: number): Delivery[] {
    return this.order.position > seq ? this.order.restart(seq) : [];
  }

  setMembers(names: readonly string[], total: number): void {
    this.members.clear();
    this.addMembers(names, total);
  }

  addMembers(names: readonly string[], total: number): void {
    for (const name of names) if (this.members.size < MAX_MEMBERS) this.members.set(nameKey(name), name);
    this.total = total;
    this.sorted = null;
  }

  removeMembers(names: readonly string[], total: number): void {
    for (const name of names) this.members.delete(nameKey(name));
    this.total = total;
    this.sorted = null;
  }
}

/** Why a `users` is on its way; `asker`: the conversation in which it was asked for. */
export interface UsersRequest {
  reason: "join" | "users" | "resume" | "refresh";
  room: string;
  conversation: string;
}

export interface UsersMessage {
  room: string;
  names: string[];
  total: number;
  topic: string;
  seq: number;
  salt: string;
}

/** `place(room, given)` makes events of what has its place now. */
export class Rooms {
  private readonly rooms = new Map<string, Room>(); // by key, in the order in which they were entered
  private usersRequests: UsersRequest[] = []; // which `users` are to come
  private readonly leftOffline = new Set<string>(); // keys of rooms that were left while there was no welcome

  constructor(private readonly toEvents: (room: Room, given: Delivery[]) => Event[]) {}

  get all(): Room[] {
    return [...this.rooms.values()];
  }

  get(name: string): Room | undefined {
    return this.rooms.get(nameKey(name));
  }

  expectUsers(asked: UsersRequest): void {
    this.usersRequests.push(asked);
  }

  isExpecting(why: UsersRequest["reason"], room: string): boolean {
    return this.usersRequests.some((asked) => asked.reason === why && asked.room === room);
  }

  // -- what this client does ---------------------------------------------------------------------------

  /** Note that one wants to be in; false: too many. */
  join(name: string): boolean {
    const room = this.get(name);
    if (!room && this.rooms.size >= MAX_ROOMS) return false;
    if (!room) this.add(name);
    else if (room.presence === "parting") room.presence = "rejoining";
    this.leftOffline.delete(nameKey(name));
    return true;
  }

  part(name: string): void {
    const room = this.get(name);
    if (room) room.presence = "parting";
  }

  /** Note that one wants to be out, while there is no welcome. */
  leaveOffline(name: string): Event[] {
    this.leftOffline.add(nameKey(name));
    const room = this.get(name);
    return room ? this.remove(room) : [];
  }

  // -- connections -------------------------------------------------------------------------------------

  /** Expect what comes on a new connection, which takes up these rooms by itself. */
  connectionMade(resumed: ReadonlySet<string>): void {
    for (const room of this.rooms.values()) {
      room.order.startConnection();
      if (room.isMember) room.presence = resumed.has(room.name) ? "joined" : "resuming";
    }
  }

  connectionLost(): Event[] {
    this.usersRequests = [];
    const events: Event[] = [];
    for (const room of this.all) {
      if (room.presence === "parting") events.push(...this.remove(room));
      else if (room.presence === "rejoining") {
        events.push(...this.remove(room));
        this.add(room.name);
      }
    }
    return events;
  }

  /** Which rooms of a welcome are wanted, and which are to be left. */
  partition(found: RoomSummary[]): { wanted: RoomSummary[]; unwanted: string[] } {
    const wanted = found.filter((room) => !this.leftOffline.has(nameKey(room.room))).slice(0, MAX_ROOMS);
    const unwanted = found
      .filter((room) => this.leftOffline.has(nameKey(room.room)))
      .map((room) => room.room);
    this.leftOffline.clear();
    return { wanted, unwanted };
  }

  /** Begin all numbers anew, as the server has another log. */
  renumber(): Event[] {
    return this.all.flatMap((room) => this.toEvents(room, room.order.restart(0)));
  }

  /** Whether the server has less of a room than it had, because it was put back to a backup. */
  isRolledBack(found: RoomSummary[]): boolean {
    return found.some((summary) => (this.get(summary.room)?.order.position ?? 0) > summary.seq);
  }

  rewind(found: RoomSummary[]): Event[] {
    return found.flatMap((summary) => {
      const room = this.get(summary.room);
      return room ? this.toEvents(room, room.rewind(summary.seq)) : [];
    });
  }

  /** Note in which rooms the server lets one go on. */
  applyWelcome(found: RoomSummary[]): Event[] {
    const events: Event[] = [];
    const present = new Set(found.map((summary) => nameKey(summary.room)));
    for (const room of this.all) {
      if (room.presence === "joined" && !present.has(nameKey(room.name))) events.push(...this.remove(room));
    }
    for (const summary of found) {
      const room = this.get(summary.room) ?? this.add(summary.room);
      const isNew = room.presence === "joining";
      if (isNew) events.push(...this.toEvents(room, room.order.restart(summary.seq)));
      room.enter(summary.room);
      room.topic = summary.topic;
      room.total = summary.members;
      room.salt = summary.salt;
      room.missedThrough = summary.seq;
      events.push(
        isNew ? { type: "entered", room: room.name, seq: summary.seq } : { type: "people", room: room.name },
      );
    }
    return events;
  }

  // -- what the server says ----------------------------------------------------------------------------

  /** Take who is in a room: perhaps the answer to having joined it. */
  handleUsers(users: UsersMessage): Event[] {
    const asked = this.usersRequests.shift() ?? { reason: "users", room: users.room, conversation: "" };
    const events: Event[] = [];
    let room = this.get(users.room);
    if (!room && (asked.reason === "join" || asked.reason === "resume"))
      room = this.rename(asked.room, users.room);
    let entered = false;
    if (asked.reason === "join" && room) {
      entered = room.isJoinWanted;
      if (room.presence === "joining") {
        events.push(...this.toEvents(room, room.order.restart(users.seq)));
        room.enter(users.room);
        events.push({ type: "entered", room: room.name, seq: users.seq });
      }
    }
    if (asked.reason === "resume" && room?.presence === "resuming") {
      events.push(...this.toEvents(room, room.rewind(users.seq)));
      room.enter(users.room);
      room.missedThrough = users.seq;
    }
    if (room) {
      room.topic = users.topic;
      room.salt = users.salt || room.salt;
      room.setMembers(users.names, users.total);
      events.push({ type: "people", room: room.name });
    }
    if (asked.reason === "join" || asked.reason === "users") {
      const { names, total, topic, seq } = users;
      events.push({
        type: "users",
        room: users.room,
        names,
        total,
        topic,
        seq,
        entered,
        conversation: asked.conversation,
      });
    }
    return events;
  }

  joined(name: string, names: string[], total: number, own: string): Event[] {
    const room = this.get(name);
    if (!room) return [];
    room.addMembers(names, total);
    const others = names.filter((one) => nameKey(one) !== nameKey(own)); // that one has come oneself is known
    const events: Event[] = [{ type: "people", room: room.name }];
    if (others.length) events.push({ type: "joined", room: room.name, names: others, total });
    return events;
  }

  /** Take who has gone: perhaps oneself, as one has asked for. */
  left(name: string, names: string[], total: number, own: string): Event[] {
    const room = this.get(name);
    if (!room) return [];
    const leaving = room.presence === "parting" || room.presence === "rejoining";
    if (leaving && names.some((one) => nameKey(one) === nameKey(own))) {
      const rejoins = room.presence === "rejoining";
      const events = this.remove(room);
      if (rejoins) this.add(room.name);
      return events;
    }
    room.removeMembers(names, total);
    return [
      { type: "people", room: room.name },
      { type: "left", room: room.name, names, total },
    ];
  }

  topic(name: string, topic: string, from: string, at: number): Event[] {
    const room = this.get(name);
    if (!room) return [];
    room.topic = topic;
    return [{ type: "topic", room: room.name, topic, from, at }];
  }

  /** Learn what a refusal says about being in a room; `name` is as this client has written it. */
  handleError(code: string, name: string, aboutMessage: boolean): Event[] {
    const room = this.get(name);
    if (!aboutMessage && ["bad-room", "too-many-rooms", "no-such-room"].includes(code)) {
      // After a welcome, these may also be about a room that was to be resumed.
      const asked = this.usersRequests[0];
      if (asked?.room !== name) return [];
      this.usersRequests.shift();
      if (asked.reason === "resume" && room) {
        const events = this.remove(room);
        if (this.isExpecting("join", name)) this.add(name);
        return events;
      }
      const isJoinRejected = room && (room.presence === "joining" || room.presence === "parting");
      if (isJoinRejected && !this.isExpecting("join", name)) return this.remove(room);
    } else if (code === "not-in-room" && room) {
      if (room.presence === "joined" || room.presence === "parting") return this.remove(room);
      if (room.presence === "rejoining" && !aboutMessage) room.presence = "joining";
    }
    return [];
  }

  // ------------------------------------------------------------------------------------------------------

  private add(name: string): Room {
    const room = new Room(name);
    this.rooms.set(nameKey(name), room);
    return room;
  }

  /** The room of that name, from now on under a new one, which none has. */
  private rename(name: string, renamed: string): Room | undefined {
    const room = this.get(name);
    if (!room) return undefined;
    this.rooms.delete(nameKey(name));
    room.name = renamed;
    this.rooms.set(nameKey(renamed), room);
    return room;
  }

  private remove(room: Room): Event[] {
    this.rooms.delete(nameKey(room.name));
    return [
      ...this.toEvents(room, room.order.restart(room.order.position)),
      { type: "parted", room: room.name },
    ];
  }
}

/** A room's name as the server will clean it; "": it can be none. */
export function roomName(room: string): string {
  const cleaned = cleanName(room.replace(/^#/, ""), ROOM_LENGTH + 1);
  return [...cleaned].length <= ROOM_LENGTH && !/^[@#/]/.test(cleaned) ? cleaned : "";
}
