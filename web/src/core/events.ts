// Events of a client, as small values made from protocol messages. Texts are as received: escape them before
// display.

export interface RoomSummary {
  room: string;
  members: number;
  topic: string;
  seq: number;
  salt: string;
}

/** A message in a room or a direct message. `isOwn`: this page sent it, with that `id`. */
export interface Message {
  room: string; // "" for a direct message
  to: string; // "" in a room
  from: string;
  seq: number;
  at: number;
  id: string;
  body: string;
  cipher: string; // "": none
  isOwn: boolean;
  isMissed: boolean; // sent while this client was disconnected
}

/** The form in which a message was sent, so that this client recognizes it if it comes back. */
export interface EncodedBody {
  body: string;
  cipher: string;
}

export type Event =
  | {
      type: "welcomed";
      name: string;
      server: string;
      rooms: RoomSummary[];
      isReconnect: boolean;
      isRenumbered: boolean;
      isRolledBack: boolean;
    }
  | { type: "message"; message: Message }
  | { type: "whispered"; message: Message }
  | {
      type: "acked";
      id: string;
      room: string;
      to: string;
      seq: number;
      at: number;
      encoded: EncodedBody | null;
    }
  | {
      type: "refused";
      code: string;
      text: string;
      id: string;
      room: string;
      to: string;
      retryAfter: number;
      until: number | null; // the end of a ban or mute
    }
  | { type: "not-stored"; text: string }
  | {
      type: "users";
      room: string;
      names: string[];
      total: number;
      topic: string;
      seq: number;
      entered: boolean;
      conversation: string;
    }
  | { type: "entered"; room: string; seq: number } // joined, by a welcome or by a join; later messages have a higher seq
  | { type: "parted"; room: string }
  | { type: "joined"; room: string; names: string[]; total: number }
  | { type: "left"; room: string; names: string[]; total: number }
  | { type: "people"; room: string }
  | { type: "topic"; room: string; topic: string; from: string; at: number }
  | { type: "rooms"; rooms: RoomSummary[]; total: number }
  | { type: "history"; room: string; messages: Message[]; more: boolean }
  | { type: "gap"; room: string; after: number; before: number }
  | { type: "bye"; reason: string; retryAfter: number | null; until: number | null };
