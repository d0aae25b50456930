// What can happen to a client, as small values: what the wire says becomes these. Texts are as they came; whoever
// shows one makes it safe.

export interface RoomSummary {
  room: string;
  members: number;
  topic: string;
  seq: number;
  salt: string;
}

/** Something said in a room or whispered. `own`: it was said here, since the page was opened, with that `id`. */
export interface Message {
  room: string; // "" for a whisper
  to: string; // "" in a room
  from: string;
  seq: number;
  at: number;
  id: string;
  body: string;
  cipher: string; // "": none
  isOwn: boolean;
  isMissed: boolean; // it was said while there was no connection
}

/** How something was sent, for it to be met should it come again. */
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
  | { type: "refused"; code: string; text: string; id: string; room: string; to: string; retryAfter: number }
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
  | { type: "entered"; room: string; seq: number } // in, by a welcome or by joining; what follows is after that seq
  | { type: "parted"; room: string }
  | { type: "joined"; room: string; names: string[]; total: number }
  | { type: "left"; room: string; names: string[]; total: number }
  | { type: "people"; room: string }
  | { type: "topic"; room: string; topic: string; from: string; at: number }
  | { type: "rooms"; rooms: RoomSummary[]; total: number }
  | { type: "history"; room: string; messages: Message[]; more: boolean }
  | { type: "gap"; room: string; after: number; before: number }
  | { type: "bye"; reason: string; retryAfter: number | null };
