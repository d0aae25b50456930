// Requests for the history of rooms. A `history` message does not name its request: the server answers those
// about one room in order, so a queue for each room finds the request.

import type { Phrase } from "./api.ts";
import { tabularTime } from "./dates.ts";
import type { Event, Message } from "./events.ts";
import { counted, escapeControls, nameKey } from "./text.ts";

const MAX_PAGE = 1000; // messages in one request; docs/protocol.rst allows no more
const MAX_SEARCHED = 5000; // messages that a search looks at
const MAX_LINE = 1000; // characters of a found message to show
const MAX_FOUND = 200; // messages that a search shows

export type History = Extract<Event, { type: "history" }>;
type Callback = (history: History | null) => void; // null: no answer will come

export class HistoryRequests {
  private readonly callbacks = new Map<string, Callback[]>(); // by key of the room

  constructor(private readonly send: (room: string, limit: number, before?: number) => void) {}

  /** Request the `limit` newest messages below `before`; null: no answer came. */
  get(room: string, limit: number, before?: number): Promise<History | null> {
    return new Promise((resolve) => {
      const key = nameKey(room);
      this.callbacks.set(key, [...(this.callbacks.get(key) ?? []), resolve]);
      this.send(room, Math.min(limit, MAX_PAGE), before);
    });
  }

  handle(history: History): void {
    this.callbacks.get(nameKey(history.room))?.shift()?.(history);
  }

  /** Cancel the requests about that room, or (without one) about all rooms. */
  cancel(room?: string): void {
    const keys = room === undefined ? [...this.callbacks.keys()] : [nameKey(room)];
    for (const key of keys) {
      const callbacks = this.callbacks.get(key) ?? [];
      this.callbacks.delete(key);
      for (const callback of callbacks) callback(null);
    }
  }

  /**
   * Return the answer to `/search`. `decode` returns the texts of messages, as far as it can decrypt
   * them.
   */
  async search(
    room: string,
    words: string,
    decode: (messages: Message[]) => Promise<string[]>,
  ): Promise<string | Phrase> {
    const found: Phrase[] = [];
    const terms = nameKey(words).split(/\s+/).filter(Boolean);
    let [searched, before, more] = [0, undefined as number | undefined, true];
    while (more && searched < MAX_SEARCHED && found.length < MAX_FOUND) {
      const history = await this.get(room, MAX_PAGE, before);
      if (!history) return "The search failed because the connection was lost. Try again.";
      const texts = await decode(history.messages);
      for (let at = history.messages.length - 1; at >= 0; at -= 1) {
        const message = history.messages[at] as Message;
        const text = texts[at] ?? "";
        const haystack = nameKey(`${message.from} ${text}`);
        if (terms.every((word) => haystack.includes(word))) found.push(line(message, text));
      }
      searched += history.messages.length;
      before = history.messages[0]?.seq;
      more = history.more && before !== undefined;
    }
    const shown = found.slice(0, MAX_FOUND).reverse();
    return [
      ...shown.flat(),
      `${counted(shown.length, "message")} with ${escapeControls(words)} among the last ${counted(searched, "message")} of `,
      { name: escapeControls(room) },
    ];
  }
}

/** Return the line of a message that was found. */
function line(message: Message, text: string): Phrase {
  const from = escapeControls(message.from);
  const whole = escapeControls(text.slice(0, 2 * MAX_LINE).replace(/\t/g, "    "));
  const body =
    whole.length > MAX_LINE ? `${whole.slice(0, MAX_LINE).replace(/[\ud800-\udbff]$/, "")}…` : whole;
  const action = `* ${from} `;
  const isAction = body.startsWith(action);
  return [
    `${tabularTime(message.at)} ${isAction ? "* " : ""}`,
    { name: from },
    isAction ? " " : " > ",
    { quote: isAction ? body.slice(action.length) : body },
    "\n",
  ];
}
