// What a page knows for the end-to-end encryption: passphrases, of which it keeps none anywhere, and which
// conversation each is for. The worker does the rest.

import { type Answer, type Ciphertext, DAMAGED, type Decrypted, PREFIX, type Request } from "./e2ee.ts";
import type { EncodedBody, Message } from "./events.ts";
import { cleanName, nameKey } from "./text.ts";

/** The id of the conversation in a room, or with a person. */
export function conversationId(room: string, person: string): string {
  return room ? `#${nameKey(room)}` : `@${nameKey(person)}`;
}

export function isEncrypted(message: Message): boolean {
  return message.cipher.startsWith(PREFIX);
}

/** `ask` has the worker do it; it answers in the order of the requests. */
export class Encryption {
  private defaultPassphrase = "";
  private isWorkerUsed = false; // else there is nothing that the worker could know
  private readonly passphrases = new Map<string, string>(); // by id of the conversation

  constructor(private readonly callWorker: (request: Request) => Promise<Answer>) {}

  /** The passphrase for that conversation, or (id "") for all; "" forgets it. */
  setPassphrase(id: string, passphrase: string): void {
    this.isWorkerUsed ||= passphrase !== "";
    if (!id) this.defaultPassphrase = passphrase;
    else if (passphrase) this.passphrases.set(id, passphrase);
    else this.passphrases.delete(id);
  }

  /** The passphrase of a conversation; "": there is none. */
  passphraseFor(id: string): string {
    return this.passphrases.get(id) ?? this.defaultPassphrase;
  }

  /** Have the key made, so that it is there when it is needed; returns why that cannot be. */
  async deriveKey(id: string, salt: string): Promise<string> {
    const passphrase = this.passphraseFor(id);
    const answer = passphrase ? await this.callWorker({ type: "deriveKey", passphrase, salt }) : null;
    return answer?.type === "error" ? answer.reason : "";
  }

  isEnabled(room: string, to: string): boolean {
    return this.passphraseFor(conversationId(room, to)) !== "";
  }

  async encrypt(room: string, salt: string, to: string, sender: string, text: string): Promise<EncodedBody> {
    const passphrase = this.passphraseFor(conversationId(room, to));
    const answer = await this.callWorker({
      type: "encrypt",
      passphrase,
      salt,
      room: room || whisperRoom(to),
      sender,
      text,
    });
    if (answer.type !== "encrypt")
      throw new Error(answer.type === "error" ? answer.reason : "it could not be encrypted");
    return { cipher: answer.cipher, body: answer.body };
  }

  /** What these say; they are of one conversation, in order. `own`: one's name, for which whispers must be. */
  async decrypt(id: string, messages: Message[], salt: string, ownName: string): Promise<Decrypted[]> {
    const passphrase = this.passphraseFor(id);
    const ciphertexts = messages.map((message): Ciphertext => {
      const { from: sender, cipher, body, seq } = message;
      // A room that is called like those that whispers are sealed for could be used to show these.
      const room = message.room.startsWith("@") ? "" : message.room || whisperRoom(message.to);
      return { passphrase, salt: room ? salt : "", room, sender, cipher, body, seq };
    });
    const answer = await this.callWorker({ type: "decrypt", ciphertexts: ciphertexts });
    const why = answer.type === "error" ? answer.reason : "it could not be decrypted";
    return messages.map((message, place) => {
      const decrypted = answer.type === "decrypt" ? answer.decrypted[place] : undefined;
      if (!decrypted) return { problem: why, canRetry: true };
      const isMisdirected = message.to !== "" && !message.isOwn && nameKey(message.to) !== nameKey(ownName);
      return isMisdirected && "text" in decrypted ? { problem: DAMAGED, canRetry: false } : decrypted;
    });
  }

  /** The server numbers its messages anew. */
  startEpoch(): void {
    if (this.isWorkerUsed) void this.callWorker({ type: "startEpoch" });
  }
}

/** What whispers to someone are sealed for, in the place of a room. */
export function whisperRoom(name: string): string {
  return `@${nameKey(cleanName(name, [...name].length))}`;
}
