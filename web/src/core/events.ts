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
  own: boolean;
  missed: boolean; // it was said while there was no connection
}

/** How something was sent, for it to be met should it come again. */
export interface Written {
  body: string;
  cipher: string;
}

export type Event =
  | {
      is: "welcomed";
      name: string;
      server: string;
      rooms: RoomSummary[];
      again: boolean;
      renumbered: boolean;
      back: boolean;
    }
  | { is: "message"; message: Message }
  | { is: "whispered"; message: Message }
  | { is: "acked"; id: string; room: string; to: string; seq: number; at: number; written: Written | null }
  | { is: "refused"; code: string; text: string; id: string; room: string; to: string; retryAfter: number }
  | { is: "not-stored"; text: string }
  | {
      is: "users";
      room: string;
      names: string[];
      total: number;
      topic: string;
      seq: number;
      entered: boolean;
      asker: string;
    }
  | { is: "entered"; room: string; seq: number } // in, by a welcome or by joining; what follows is after that seq
  | { is: "parted"; room: string }
  | { is: "joined"; room: string; names: string[]; total: number }
  | { is: "left"; room: string; names: string[]; total: number }
  | { is: "people"; room: string }
  | { is: "topic"; room: string; topic: string; from: string; at: number }
  | { is: "rooms"; rooms: RoomSummary[]; total: number }
  | { is: "history"; room: string; messages: Message[]; more: boolean }
  | { is: "gap"; room: string; after: number; before: number }
  | { is: "bye"; reason: string; retryAfter: number | null };
