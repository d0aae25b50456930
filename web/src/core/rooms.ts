// Rooms that the user is in or wants to be in, and how to rejoin them after a break (as in
// selchat/client/protocol/rooms.py). It knows nothing of the messages in them.

import type { Event, RoomSummary } from "./events.ts";
import { type Delivery, ReorderBuffer } from "./order.ts";
import { nameKey, visibleName } from "./text.ts";

const MAX_MEMBERS = 10_000; // names to remember of one room
const MAX_ROOMS = 1024; // rooms to remember; servers allow far fewer
const ROOM_LENGTH = 32; // characters

/**
 * joining    asks to join, or will ask                    -> joined; parting by `part`
 * joined     a member, or will be by the welcome          -> resuming after a break; parting by `part`
 * resuming   a member before the break, not in the hello  -> joined; parting by `part`; removed by an error
 *            for lack of space: joins again after welcome
 * parting    asks to leave                                -> removed; rejoining by `join`
 * rejoining  asks to leave, and will then ask to join     -> joining after leaving; parting by `part`
 *
 * Other rooms are not remembered.
 */
export type Presence = "joining" | "joined" | "resuming" | "parting" | "rejoining";

export class Room {
  presence: Presence = "joining";
  topic = "";
  total = 0;
  salt = "";
  missedThrough = 0; // the largest seq of messages sent while this client was disconnected
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

  /** The known names, sorted. */
  get people(): readonly string[] {
    this.sorted ??= [...this.members.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
    return this.sorted;
  }

  enter(name: string): void {
    this.name = name;
    this.presence = "joined";
  }

  /**
   * Go back to the server's position if it is lower: a server restored from a backup continues from there.
   */
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

/** A request for `users`. `conversation`: id of the conversation in which the user asked. */
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

/** `toEvents(room, deliveries)` makes events of the messages that are in order now. */
export class Rooms {
  private readonly rooms = new Map<string, Room>(); // by key, in the order of joining
  private usersRequests: UsersRequest[] = []; // requests without an answer yet
  private readonly leftOffline = new Set<string>(); // keys of rooms that the user left while disconnected

  constructor(private readonly toEvents: (room: Room, given: Delivery[]) => Event[]) {}

  get all(): Room[] {
    return [...this.rooms.values()];
  }

  get(name: string): Room | undefined {
    return this.rooms.get(nameKey(name));
  }

  expectUsers(request: UsersRequest): void {
    this.usersRequests.push(request);
  }

  isExpecting(reason: UsersRequest["reason"], room: string): boolean {
    return this.usersRequests.some((asked) => asked.reason === reason && asked.room === room);
  }

  // -- requests ----------------------------------------------------------------------------------------

  /** Record that the user wants to be in the room; false: too many rooms. */
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

  /** Leave a room while disconnected. */
  leaveOffline(name: string): Event[] {
    this.leftOffline.add(nameKey(name));
    const room = this.get(name);
    return room ? this.remove(room) : [];
  }

  // -- connections -------------------------------------------------------------------------------------

  /** Start a connection, whose hello resumes these rooms. */
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

  /** Split the rooms of a welcome into those to stay in and those to leave. */
  partition(found: RoomSummary[]): { wanted: RoomSummary[]; unwanted: string[] } {
    const wanted = found.filter((room) => !this.leftOffline.has(nameKey(room.room))).slice(0, MAX_ROOMS);
    const unwanted = found
      .filter((room) => this.leftOffline.has(nameKey(room.room)))
      .map((room) => room.room);
    this.leftOffline.clear();
    return { wanted, unwanted };
  }

  /** Restart all numbers, because the server has another log. */
  renumber(): Event[] {
    return this.all.flatMap((room) => this.toEvents(room, room.order.restart(0)));
  }

  /** Whether the server has fewer messages of a room than before, because it was restored from a backup. */
  isRolledBack(found: RoomSummary[]): boolean {
    return found.some((summary) => (this.get(summary.room)?.order.position ?? 0) > summary.seq);
  }

  rewind(found: RoomSummary[]): Event[] {
    return found.flatMap((summary) => {
      const room = this.get(summary.room);
      return room ? this.toEvents(room, room.rewind(summary.seq)) : [];
    });
  }

  /** Record the rooms in which the server lets the user continue. */
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

  // -- messages of the server --------------------------------------------------------------------------

  /** Handle a list of members: perhaps the answer to a join. */
  handleUsers(users: UsersMessage): Event[] {
    const request = this.usersRequests.shift() ?? { reason: "users", room: users.room, conversation: "" };
    const events: Event[] = [];
    let room = this.get(users.room);
    if (!room && (request.reason === "join" || request.reason === "resume"))
      room = this.rename(request.room, users.room);
    let entered = false;
    if (request.reason === "join" && room) {
      entered = room.isJoinWanted;
      if (room.presence === "joining") {
        events.push(...this.toEvents(room, room.order.restart(users.seq)));
        room.enter(users.room);
        events.push({ type: "entered", room: room.name, seq: users.seq });
      }
    }
    if (request.reason === "resume" && room?.presence === "resuming") {
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
    if (request.reason === "join" || request.reason === "users") {
      const { names, total, topic, seq } = users;
      events.push({
        type: "users",
        room: users.room,
        names,
        total,
        topic,
        seq,
        entered,
        conversation: request.conversation,
      });
    }
    return events;
  }

  joined(name: string, names: string[], total: number, ownName: string): Event[] {
    const room = this.get(name);
    if (!room) return [];
    room.addMembers(names, total);
    // The user knows about their own join.
    const others = names.filter((one) => nameKey(one) !== nameKey(ownName));
    const events: Event[] = [{ type: "people", room: room.name }];
    if (others.length) events.push({ type: "joined", room: room.name, names: others, total });
    return events;
  }

  /** Handle members who left: perhaps the user, as requested. */
  left(name: string, names: string[], total: number, ownName: string): Event[] {
    const room = this.get(name);
    if (!room) return [];
    const leaving = room.presence === "parting" || room.presence === "rejoining";
    if (leaving && names.some((one) => nameKey(one) === nameKey(ownName))) {
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

  /** Handle an error about membership of a room; `name` is spelled as in the request. */
  handleError(code: string, name: string, aboutMessage: boolean): Event[] {
    const room = this.get(name);
    if (!aboutMessage && ["bad-room", "too-many-rooms", "no-such-room"].includes(code)) {
      // After a welcome, these errors may also be about a room to resume.
      const request = this.usersRequests[0];
      if (request?.room !== name) return [];
      this.usersRequests.shift();
      if (request.reason === "resume" && room) {
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

  /** Rename a room; no room has the new name. */
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

/** Return a room's name as the server will clean it; "": it is not a valid name. */
export function roomName(room: string): string {
  const cleaned = visibleName(room.replace(/^#/, ""), ROOM_LENGTH + 1);
  return [...cleaned].length <= ROOM_LENGTH && !/^[@#/]/.test(cleaned) ? cleaned : "";
}
