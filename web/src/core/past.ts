// What is asked of rooms' pasts. The wire does not say which question a `history` answers: those about one room are
// answered in the order of the questions, and that is what is remembered here.

import type { Event, Message } from "./events.ts";
import { caseFolded, count, nameKey, visible } from "./text.ts";

const PAGE = 1000; // messages asked for at a time; docs/protocol.rst allows no more
const SEARCHED = 5000; // messages that a search looks at
const MOST_FOUND = 200; // messages that are shown

export type History = Extract<Event, { is: "history" }>;
type Take = (history: History | null) => void; // null: there is no answer

export class Past {
  private readonly questions = new Map<string, Take[]>(); // by key of the room

  constructor(private readonly ask: (room: string, limit: number, before?: number) => void) {}

  /** The `limit` newest messages below `before`; null: there is no answer. */
  get(room: string, limit: number, before?: number): Promise<History | null> {
    return new Promise((resolve) => {
      const key = nameKey(room);
      this.questions.set(key, [...(this.questions.get(key) ?? []), resolve]);
      this.ask(room, Math.min(limit, PAGE), before);
    });
  }

  take(history: History): void {
    this.questions.get(nameKey(history.room))?.shift()?.(history);
  }

  /** Expect no more answers about that room, or (without one) about any. */
  forget(room?: string): void {
    const keys = room === undefined ? [...this.questions.keys()] : [nameKey(room)];
    for (const key of keys) {
      const takers = this.questions.get(key) ?? [];
      this.questions.delete(key);
      for (const take of takers) take(null);
    }
  }

  /** The lines that answer `/search`; `read` says what messages say, as far as they can be read. */
  async search(
    room: string,
    words: string,
    read: (messages: Message[]) => Promise<string[]>,
  ): Promise<string> {
    const found: string[] = [];
    let [searched, before, more] = [0, undefined as number | undefined, true];
    while (more && searched < SEARCHED && found.length < MOST_FOUND) {
      const history = await this.get(room, PAGE, before);
      if (!history) return "The search was broken off";
      const texts = await read(history.messages);
      const wanted = caseFolded(words).split(/\s+/).filter(Boolean);
      for (let at = history.messages.length - 1; at >= 0; at -= 1) {
        const message = history.messages[at] as Message;
        const text = texts[at] ?? "";
        const where = caseFolded(`${message.from} ${text}`);
        if (wanted.every((word) => where.includes(word))) found.push(line(message, text));
      }
      searched += history.messages.length;
      before = history.messages[0]?.seq;
      more = history.more && before !== undefined;
    }
    const what = `the last ${count(searched, "message")} of ${visible(room)}`;
    const shown = found.slice(0, MOST_FOUND).reverse();
    return [...shown, `${count(shown.length, "message")} with ${visible(words)} among ${what}`].join("\n");
  }
}

function line(message: Message, text: string): string {
  const [from, said] = [visible(message.from), visible(text.replace(/\t/g, "    "))];
  return `${localTime(message.at)} ${said.startsWith(`* ${from} `) ? said : `${from} > ${said}`}`;
}

function localTime(at: number): string {
  const time = new Date(at * 1000);
  if (Number.isNaN(time.getTime())) return "????-??-?? ??:??:??";
  const two = (number: number) => String(number).padStart(2, "0");
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":")}`;
}
