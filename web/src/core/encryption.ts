// Passphrases of the conversations, for the end-to-end encryption. They are in memory only; the worker does
// the encryption.

import { type Answer, type Ciphertext, DAMAGED, type Decrypted, PREFIX, type Request } from "./e2ee.ts";
import type { EncodedBody, Message } from "./events.ts";
import { cleanName, nameKey } from "./text.ts";

/** Return the id of the conversation in a room, or with a person. */
export function conversationId(room: string, person: string): string {
  return room ? `#${nameKey(room)}` : `@${nameKey(person)}`;
}

export function isEncrypted(message: Message): boolean {
  return message.cipher.startsWith(PREFIX);
}

/** `callWorker` sends a request to the worker, which answers in order. */
export class Encryption {
  private defaultPassphrase = "";
  private isWorkerUsed = false; // false: the worker has no state that could be stale
  private readonly passphrases = new Map<string, string>(); // by conversation id

  constructor(private readonly callWorker: (request: Request) => Promise<Answer>) {}

  /** Set the passphrase of one conversation, or (id "") of all; "" forgets it. */
  setPassphrase(id: string, passphrase: string): void {
    this.isWorkerUsed ||= passphrase !== "";
    if (!id) this.defaultPassphrase = passphrase;
    else if (passphrase) this.passphrases.set(id, passphrase);
    else this.passphrases.delete(id);
  }

  /** Return the passphrase of a conversation; "": none. */
  passphraseFor(id: string): string {
    return this.passphrases.get(id) ?? this.defaultPassphrase;
  }

  /** Derive the key early. Return the problem if that fails, else "". */
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
      throw new Error(answer.type === "error" ? answer.reason : "the message could not be encrypted");
    return { cipher: answer.cipher, body: answer.body };
  }

  /** Decrypt messages of one conversation, in order. `ownName`: direct messages must be addressed to it. */
  async decrypt(id: string, messages: Message[], salt: string, ownName: string): Promise<Decrypted[]> {
    const passphrase = this.passphraseFor(id);
    const ciphertexts = messages.map((message): Ciphertext => {
      const { from: sender, cipher, body, seq } = message;
      // A room named like the place of direct messages must not be able to show them.
      const room = message.room.startsWith("@") ? "" : message.room || whisperRoom(message.to);
      return { passphrase, salt: room ? salt : "", room, sender, cipher, body, seq };
    });
    const answer = await this.callWorker({ type: "decrypt", ciphertexts: ciphertexts });
    const reason = answer.type === "error" ? answer.reason : "the message could not be decrypted";
    return messages.map((message, place) => {
      const decrypted = answer.type === "decrypt" ? answer.decrypted[place] : undefined;
      if (!decrypted) return { problem: reason, canRetry: true };
      const isMisdirected = message.to !== "" && !message.isOwn && nameKey(message.to) !== nameKey(ownName);
      return isMisdirected && "text" in decrypted ? { problem: DAMAGED, canRetry: false } : decrypted;
    });
  }

  /** Start an epoch: the server renumbers its messages. */
  startEpoch(): void {
    if (this.isWorkerUsed) void this.callWorker({ type: "startEpoch" });
  }
}

/** Return the room name for which direct messages to that person are encrypted. */
export function whisperRoom(name: string): string {
  return `@${nameKey(cleanName(name, [...name].length))}`;
}
