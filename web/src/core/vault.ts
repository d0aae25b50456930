// What a page knows for the end-to-end encryption: passphrases, of which it keeps none anywhere, and which
// conversation each is for. The worker does the rest.

import type { Message, Written } from "./events.ts";
import { type Answer, DAMAGED, type Opened, type Opening, type Request, SEALED } from "./sealing.ts";
import { cleanName, nameKey } from "./text.ts";

/** The id of the conversation in a room, or with a person. */
export function idOf(room: string, person: string): string {
  return room ? `#${nameKey(room)}` : `@${nameKey(person)}`;
}

export function isSealed(message: Message): boolean {
  return message.cipher.startsWith(SEALED);
}

/** `ask` has the worker do it; it answers in the order of the requests. */
export class Vault {
  private forAll = "";
  private isUsed = false; // else there is nothing that the worker could know
  private readonly words = new Map<string, string>(); // by id of the conversation

  constructor(private readonly ask: (request: Request) => Promise<Answer>) {}

  /** The passphrase for that conversation, or (id "") for all; "" forgets it. */
  learn(id: string, words: string): void {
    this.isUsed ||= words !== "";
    if (!id) this.forAll = words;
    else if (words) this.words.set(id, words);
    else this.words.delete(id);
  }

  /** The passphrase of a conversation; "": there is none. */
  of(id: string): string {
    return this.words.get(id) ?? this.forAll;
  }

  /** Have the key made, so that it is there when it is needed; returns why that cannot be. */
  async derive(id: string, salt: string): Promise<string> {
    const words = this.of(id);
    const answer = words ? await this.ask({ do: "derive", words, salt }) : null;
    return answer?.did === "fail" ? answer.why : "";
  }

  wants(room: string, to: string): boolean {
    return this.of(idOf(room, to)) !== "";
  }

  async seal(room: string, salt: string, to: string, sender: string, text: string): Promise<Written> {
    const words = this.of(idOf(room, to));
    const answer = await this.ask({ do: "seal", words, salt, room: room || whispersTo(to), sender, text });
    if (answer.did !== "seal")
      throw new Error(answer.did === "fail" ? answer.why : "it could not be encrypted");
    return { cipher: answer.cipher, body: answer.body };
  }

  /** What these say; they are of one conversation, in order. `own`: one's name, for which whispers must be. */
  async open(id: string, messages: Message[], salt: string, own: string): Promise<Opened[]> {
    const words = this.of(id);
    const openings = messages.map((message): Opening => {
      const { from: sender, cipher, body, seq } = message;
      // A room that is called like those that whispers are sealed for could be used to show these.
      const room = message.room.startsWith("@") ? "" : message.room || whispersTo(message.to);
      return { words, salt: room ? salt : "", room, sender, cipher, body, seq };
    });
    const answer = await this.ask({ do: "open", openings });
    const why = answer.did === "fail" ? answer.why : "it could not be decrypted";
    return messages.map((message, place) => {
      const opened = answer.did === "open" ? answer.opened[place] : undefined;
      if (!opened) return { problem: why, again: true };
      const elsewhere = message.to !== "" && !message.own && nameKey(message.to) !== nameKey(own);
      return elsewhere && "text" in opened ? { problem: DAMAGED, again: false } : opened;
    });
  }

  /** The server numbers its messages anew. */
  begin(): void {
    if (this.isUsed) void this.ask({ do: "begin" });
  }
}

/** What whispers to someone are sealed for, in the place of a room. */
export function whispersTo(name: string): string {
  return `@${nameKey(cleanName(name, [...name].length))}`;
}
