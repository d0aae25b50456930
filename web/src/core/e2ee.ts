// End-to-end encryption of bodies (docs/encryption.rst), as in selchat/wire/e2ee.py. It runs in the worker,
// because deriving a key takes 0.1 s or more. It knows neither the members of a room nor the typed lines.
// Ciphertext comes from strangers: the result is the text or a problem.

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { scrypt } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { EncodedBody } from "./events.ts";

export const PREFIX = "selchat1 "; // start of the `cipher` field

const SALT_SIZE = 16; // bytes of a salt, a session, a check and a tag
const KEY_SIZE = 32; // bytes of a room's key and of a session's key
const WINDOW = 1000; // messages of a session to remember
const MAX_SESSIONS = 4096; // sessions to remember
const MAX_KEYS = 4096;
const SCRYPT = { N: 1 << 15, r: 8, p: 1, dkLen: KEY_SIZE }; // 32 MiB

const OTHER_PASSPHRASE = "cannot be read: encrypted with another passphrase";
export const DAMAGED = "cannot be read: changed in transit";
const REPLAYED = "not shown: an old message that was delivered again";
const REORDERED = "not shown: delivered in the wrong order";
const NO_SALT = "the server sends no salt, so encryption is not possible";

/** The input of the key derivation. */
export interface KeySource {
  passphrase: string;
  salt: string; // as the server sends it
}

export interface Ciphertext extends KeySource {
  room: string;
  sender: string;
  cipher: string;
  body: string;
  seq: number; // 0: the message has no number and was just sent
}

/** The text; or the problem, and whether to try again with another passphrase or later. */
export type Decrypted = { text: string } | { problem: string; canRetry: boolean };

export type Request =
  | ({ type: "deriveKey" } & KeySource) // early, because it takes time
  | ({ type: "encrypt"; room: string; sender: string; text: string } & KeySource)
  | { type: "decrypt"; ciphertexts: Ciphertext[] }
  | { type: "startEpoch" }; // the server renumbers its messages

export type Answer =
  | { type: "deriveKey" }
  | ({ type: "encrypt" } & EncodedBody)
  | { type: "decrypt"; decrypted: Decrypted[] }
  | { type: "startEpoch" }
  | { type: "error"; reason: string };

/** The keys and sessions of one page. `random` makes session ids, `derive` makes a key, which is slow. */
export class EncryptionSessions {
  private readonly keys = new Map<string, Uint8Array>();
  private readonly senders = new Map<string, { key: SessionKey; counter: number }>();
  private readonly sessions = new Map<string, Session>(); // least recently used first
  private epoch = 0;

  constructor(
    private readonly random: (size: number) => Uint8Array,
    private readonly derive = roomKey,
  ) {}

  handle(request: Request): Answer {
    try {
      switch (request.type) {
        case "deriveKey":
          if (request.salt) this.key(request);
          return { type: "deriveKey" };
        case "encrypt":
          return { type: "encrypt", ...this.encrypt(request, request.room, request.sender, request.text) };
        case "decrypt":
          return {
            type: "decrypt",
            decrypted: request.ciphertexts.map((opening) => this.tryDecrypt(opening)),
          };
        case "startEpoch":
          this.epoch += 1;
          return { type: "startEpoch" };
      }
    } catch (error) {
      return { type: "error", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Encrypt a text for a room. `room` and `sender` are as the server spells them. */
  private encrypt(source: KeySource, room: string, sender: string, text: string): EncodedBody {
    const roomKey = this.key(source);
    const place = JSON.stringify([source.passphrase, source.salt, room]);
    const ownSession = this.senders.get(place) ?? {
      key: new SessionKey(roomKey, this.random(SALT_SIZE)),
      counter: 0,
    };
    putBounded(this.senders, place, ownSession, MAX_KEYS);
    ownSession.counter += 1;
    const data = ownSession.key.encrypt(room, sender, ownSession.counter, encode(text));
    const { session, check } = ownSession.key;
    return {
      cipher: `${PREFIX}${toBase64(session)} ${ownSession.counter} ${toBase64(check)}`,
      body: toBase64(data),
    };
  }

  private tryDecrypt(ciphertext: Ciphertext): Decrypted {
    try {
      return { text: this.decrypt(ciphertext) };
    } catch (error) {
      if (error instanceof UnreadableError)
        return { problem: error.message, canRetry: error.message === OTHER_PASSPHRASE };
      throw error;
    }
  }

  /** Return the text. A message may be decrypted again under the same number, and older ones at any time. */
  private decrypt(ciphertext: Ciphertext): string {
    const { room, sender, cipher, seq } = ciphertext;
    const match = /^selchat1 ([A-Za-z0-9_-]{22}) ([1-9][0-9]{0,15}) ([A-Za-z0-9_-]{22})$/.exec(cipher);
    const counter = Number(match?.[2]);
    const [session, check] = [fromBase64(match?.[1] ?? "-"), fromBase64(match?.[3] ?? "-")];
    const data = fromBase64(ciphertext.body);
    if (!session || !check || !data || !Number.isSafeInteger(counter)) throw new UnreadableError(DAMAGED);
    // A room without a salt: nobody can have encrypted this for us.
    if (!fromBase64(ciphertext.salt, SALT_SIZE)) throw new UnreadableError(OTHER_PASSPHRASE);
    const place = JSON.stringify([ciphertext.passphrase, ciphertext.salt, room, sender, match?.[1]]);
    const known = this.sessions.get(place) ?? new Session(new SessionKey(this.key(ciphertext), session));
    if (!equal(known.key.check, check)) throw new UnreadableError(OTHER_PASSPHRASE);
    const text = known.key.decrypt(room, sender, counter, data);
    this.sessions.delete(place);
    putBounded(this.sessions, place, known, MAX_SESSIONS);
    known.check(counter, seq, this.epoch);
    return text;
  }

  private key(source: KeySource): Uint8Array {
    const salt = fromBase64(source.salt, SALT_SIZE);
    if (!salt) throw new Error(NO_SALT);
    const place = JSON.stringify([source.passphrase, source.salt]);
    const key = this.keys.get(place) ?? this.derive(source.passphrase, salt);
    putBounded(this.keys, place, key, MAX_KEYS);
    return key;
  }
}

export function roomKey(passphrase: string, salt: Uint8Array): Uint8Array {
  return scrypt(encode(passphrase.normalize("NFC")), salt, SCRYPT);
}

class UnreadableError extends Error {}

/** The key of one session: the cipher, and the check value that distinguishes it from other keys. */
export class SessionKey {
  readonly key: Uint8Array;
  readonly check: Uint8Array;

  constructor(
    roomKey: Uint8Array,
    readonly session: Uint8Array,
  ) {
    const derived = hkdf(sha256, roomKey, session, encode("selchat1 session"), KEY_SIZE + SALT_SIZE);
    this.key = derived.slice(0, KEY_SIZE);
    this.check = derived.slice(KEY_SIZE);
  }

  encrypt(room: string, sender: string, counter: number, data: Uint8Array): Uint8Array {
    return chacha20poly1305(
      this.key,
      bigEndian(counter, 12),
      this.associatedData(room, sender, counter),
    ).encrypt(data);
  }

  decrypt(room: string, sender: string, counter: number, data: Uint8Array): string {
    try {
      const cipher = chacha20poly1305(
        this.key,
        bigEndian(counter, 12),
        this.associatedData(room, sender, counter),
      );
      return decoder.decode(cipher.decrypt(data));
    } catch {
      throw new UnreadableError(DAMAGED);
    }
  }

  /** Return the additional data, which binds a message to its room, sender and counter. */
  associatedData(room: string, sender: string, counter: number): Uint8Array {
    const parts = [encode(room), encode(sender), this.session].flatMap((part) => [
      bigEndian(part.length, 4),
      part,
    ]);
    return concat([encode("selchat1 message"), ...parts, bigEndian(counter, 8)]);
  }
}

/**
 * One sender's session at the receiver: the counters that arrived in this epoch, and the message number of
 * each. It keeps the largest `WINDOW` counters; both lists ascend together. `previousEpochs` has the numbers
 * of earlier epochs.
 */
class Session {
  private age = 0;
  private counters: number[] = [];
  private seqs: number[] = [];
  private readonly previousEpochs = new Map<number, number>();

  constructor(readonly key: SessionKey) {}

  check(counter: number, seq: number, age: number): void {
    if (age !== this.age) this.startEpoch(age);
    const { counters, seqs } = this;
    let place = counters.length;
    while (place > 0 && (counters[place - 1] as number) >= counter) place -= 1;
    const isKnown = counters[place] === counter;
    let number = seq;
    if (!seq) {
      // A message that is not stored arrives when it is sent, after all earlier ones.
      if (isKnown || this.previousEpochs.has(counter)) throw new UnreadableError(REPLAYED);
      if (place < counters.length) throw new UnreadableError(REORDERED);
      number = seqs.at(-1) ?? 0;
    } else {
      if (isKnown && seqs[place] === seq) return;
      if (isKnown || (this.previousEpochs.get(counter) ?? seq) !== seq) throw new UnreadableError(REPLAYED);
      const [before, after] = [seqs[place - 1], seqs[place]];
      if ((before !== undefined && before >= seq) || (after !== undefined && after <= seq)) {
        throw new UnreadableError(REORDERED);
      }
    }
    counters.splice(place, 0, counter);
    seqs.splice(place, 0, number);
    if (counters.length > WINDOW) {
      counters.shift();
      seqs.shift();
    }
  }

  private startEpoch(age: number): void {
    this.age = age;
    this.counters.forEach((counter, place) => {
      this.previousEpochs.set(counter, this.seqs[place] as number);
    });
    const old = [...this.previousEpochs.keys()].sort((a, b) => a - b).slice(0, -WINDOW);
    for (const counter of old) this.previousEpochs.delete(counter);
    this.counters = [];
    this.seqs = [];
  }
}

// --------------------------------------------------------------------------------------------------------

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES = new Map([...ALPHABET].map((character, value) => [character.charCodeAt(0), value]));

function encode(text: string): Uint8Array {
  return encoder.encode(text);
}

function putBounded<V>(map: Map<string, V>, key: string, value: V, max: number): void {
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value as string);
}

function bigEndian(number: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = size - 1, rest = number; rest > 0; at -= 1, rest = Math.floor(rest / 256))
    bytes[at] = rest % 256;
  return bytes;
}

function concat(parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  a.forEach((byte, at) => {
    difference |= byte ^ (b[at] ?? 0);
  });
  return difference === 0;
}

export function toBase64(data: Uint8Array): string {
  const characters: string[] = [];
  for (let at = 0; at < data.length; at += 3) {
    const [a, b, c] = [data[at] as number, data[at + 1], data[at + 2]];
    const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    const size = c !== undefined ? 4 : b !== undefined ? 3 : 2;
    for (let place = 0; place < size; place += 1)
      characters.push(ALPHABET[(bits >> (18 - 6 * place)) & 63] as string);
  }
  return characters.join("");
}

/** Decode strict base64url of that many bytes; null: invalid. */
export function fromBase64(text: string, size?: number): Uint8Array | null {
  if (text.length % 4 === 1) return null;
  const data = new Uint8Array(Math.floor((text.length * 3) / 4));
  let [bits, have, at] = [0, 0, 0];
  for (let place = 0; place < text.length; place += 1) {
    const value = VALUES.get(text.charCodeAt(place));
    if (value === undefined) return null;
    bits = ((bits << 6) | value) & 0xffff;
    have += 6;
    if (have >= 8) {
      have -= 8;
      data[at] = (bits >> have) & 255;
      at += 1;
    }
  }
  if (bits & ((1 << have) - 1)) return null; // unused bits must be 0
  return size === undefined || size === data.length ? data : null;
}
