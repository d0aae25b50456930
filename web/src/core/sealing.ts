// End-to-end encryption of what is said (docs/encryption.rst): bodies to ciphertext and back, as
// selchat/wire/e2ee.py. It lives in the worker, as a key takes a tenth of a second or more, and knows neither who is
// in a room nor what was typed. What is opened is a stranger's: the answer is the text, or why there is none.

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { scrypt } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Written } from "./events.ts";

export const SEALED = "selchat1 "; // what `cipher` begins with

const SIZE = 16; // bytes of a salt, a session, a check and a tag
const KEY = 32; // bytes of a room's key and of a session's
const WINDOW = 1000; // messages of a session that are remembered
const MOST_SESSIONS = 4096; // that are remembered
const MOST_KEYS = 4096;
const SCRYPT = { N: 1 << 15, r: 8, p: 1, dkLen: KEY }; // 32 MiB

const OTHER_PASSPHRASE = "cannot be read: encrypted with another passphrase";
export const DAMAGED = "cannot be read: changed on the way";
const REPLAYED = "not shown: said before, and come again as something new";
const REORDERED = "not shown: come in another order than it was said in";
const NO_SALT = "the server gives no salt, without which nothing can be encrypted";

/** What the key of a place is made of. */
export interface Key {
  words: string;
  salt: string; // as the server writes it
}

export interface Opening extends Key {
  room: string;
  sender: string;
  cipher: string;
  body: string;
  seq: number; // 0: it has none and was just said
}

/** What was opened; or why not, and whether it may be with other words, or another time. */
export type Opened = { text: string } | { problem: string; again: boolean };

export type Request =
  | ({ do: "derive" } & Key) // so that it is there when it is needed
  | ({ do: "seal"; room: string; sender: string; text: string } & Key)
  | { do: "open"; openings: Opening[] }
  | { do: "begin" }; // the server numbers its messages anew

export type Answer =
  | { did: "derive" }
  | ({ did: "seal" } & Written)
  | { did: "open"; opened: Opened[] }
  | { did: "begin" }
  | { did: "fail"; why: string };

/** All that one page has of keys and sessions; `random` makes the sessions, `derive` a key, which takes its time. */
export class Sealing {
  private readonly keys = new Map<string, Uint8Array>();
  private readonly sealers = new Map<string, { key: SessionKey; counter: number }>();
  private readonly sessions = new Map<string, Session>(); // the one that was read last is the last
  private age = 0;

  constructor(
    private readonly random: (size: number) => Uint8Array,
    private readonly derive = roomKey,
  ) {}

  answer(request: Request): Answer {
    try {
      switch (request.do) {
        case "derive":
          if (request.salt) this.key(request);
          return { did: "derive" };
        case "seal":
          return { did: "seal", ...this.seal(request, request.room, request.sender, request.text) };
        case "open":
          return { did: "open", opened: request.openings.map((opening) => this.opened(opening)) };
        case "begin":
          this.age += 1;
          return { did: "begin" };
      }
    } catch (error) {
      return { did: "fail", why: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Encrypt something for a room. `room` and `sender` are as the server writes them. */
  private seal(of: Key, room: string, sender: string, text: string): Written {
    const roomKey = this.key(of);
    const place = JSON.stringify([of.words, of.salt, room]);
    const sealer = this.sealers.get(place) ?? { key: new SessionKey(roomKey, this.random(SIZE)), counter: 0 };
    put(this.sealers, place, sealer, MOST_KEYS);
    sealer.counter += 1;
    const data = sealer.key.encrypt(room, sender, sealer.counter, encode(text));
    const { session, check } = sealer.key;
    return {
      cipher: `${SEALED}${toBase64(session)} ${sealer.counter} ${toBase64(check)}`,
      body: toBase64(data),
    };
  }

  private opened(opening: Opening): Opened {
    try {
      return { text: this.open(opening) };
    } catch (error) {
      if (error instanceof Unreadable)
        return { problem: error.message, again: error.message === OTHER_PASSPHRASE };
      throw error;
    }
  }

  /** The text. The same may be opened any number of times, under the same number, and older ones at any time. */
  private open(opening: Opening): string {
    const { room, sender, cipher, seq } = opening;
    const match = /^selchat1 ([A-Za-z0-9_-]{22}) ([1-9][0-9]{0,15}) ([A-Za-z0-9_-]{22})$/.exec(cipher);
    const counter = Number(match?.[2]);
    const [session, check] = [fromBase64(match?.[1] ?? "-"), fromBase64(match?.[3] ?? "-")];
    const data = fromBase64(opening.body);
    if (!session || !check || !data || !Number.isSafeInteger(counter)) throw new Unreadable(DAMAGED);
    // A room without a salt: nobody can have encrypted it for us.
    if (!fromBase64(opening.salt, SIZE)) throw new Unreadable(OTHER_PASSPHRASE);
    const place = JSON.stringify([opening.words, opening.salt, room, sender, match?.[1]]);
    const known = this.sessions.get(place) ?? new Session(new SessionKey(this.key(opening), session));
    if (!equal(known.key.check, check)) throw new Unreadable(OTHER_PASSPHRASE);
    const text = known.key.decrypt(room, sender, counter, data);
    this.sessions.delete(place);
    put(this.sessions, place, known, MOST_SESSIONS);
    known.take(counter, seq, this.age);
    return text;
  }

  private key(of: Key): Uint8Array {
    const salt = fromBase64(of.salt, SIZE);
    if (!salt) throw new Error(NO_SALT);
    const place = JSON.stringify([of.words, of.salt]);
    const key = this.keys.get(place) ?? this.derive(of.words, salt);
    put(this.keys, place, key, MOST_KEYS);
    return key;
  }
}

export function roomKey(passphrase: string, salt: Uint8Array): Uint8Array {
  return scrypt(encode(passphrase.normalize("NFC")), salt, SCRYPT);
}

class Unreadable extends Error {}

/** What a room's key and a session make: the cipher, and the check that tells this key from others. */
export class SessionKey {
  readonly key: Uint8Array;
  readonly check: Uint8Array;

  constructor(
    roomKey: Uint8Array,
    readonly session: Uint8Array,
  ) {
    const made = hkdf(sha256, roomKey, session, encode("selchat1 session"), KEY + SIZE);
    this.key = made.slice(0, KEY);
    this.check = made.slice(KEY);
  }

  encrypt(room: string, sender: string, counter: number, data: Uint8Array): Uint8Array {
    return chacha20poly1305(this.key, bigEndian(counter, 12), this.bound(room, sender, counter)).encrypt(
      data,
    );
  }

  decrypt(room: string, sender: string, counter: number, data: Uint8Array): string {
    try {
      const cipher = chacha20poly1305(this.key, bigEndian(counter, 12), this.bound(room, sender, counter));
      return decoder.decode(cipher.decrypt(data));
    } catch {
      throw new Unreadable(DAMAGED);
    }
  }

  /** The additional data: a message is worth nothing in another place than its own. */
  bound(room: string, sender: string, counter: number): Uint8Array {
    const parts = [encode(room), encode(sender), this.session].flatMap((part) => [
      bigEndian(part.length, 4),
      part,
    ]);
    return joined([encode("selchat1 message"), ...parts, bigEndian(counter, 8)]);
  }
}

/**
 * One sender's session as a reader has it: which counters have come since the numbers began, and under which numbers.
 * The largest `WINDOW` of them are kept, in order, and both grow together; `former` are those of the numbers before.
 */
class Session {
  private age = 0;
  private counters: number[] = [];
  private seqs: number[] = [];
  private readonly former = new Map<number, number>();

  constructor(readonly key: SessionKey) {}

  take(counter: number, seq: number, age: number): void {
    if (age !== this.age) this.begin(age);
    const { counters, seqs } = this;
    let place = counters.length;
    while (place > 0 && (counters[place - 1] as number) >= counter) place -= 1;
    const isKnown = counters[place] === counter;
    let number = seq;
    if (!seq) {
      // What is not kept comes while it is said, after all that came before.
      if (isKnown || this.former.has(counter)) throw new Unreadable(REPLAYED);
      if (place < counters.length) throw new Unreadable(REORDERED);
      number = seqs.at(-1) ?? 0;
    } else {
      if (isKnown && seqs[place] === seq) return;
      if (isKnown || (this.former.get(counter) ?? seq) !== seq) throw new Unreadable(REPLAYED);
      const [before, after] = [seqs[place - 1], seqs[place]];
      if ((before !== undefined && before >= seq) || (after !== undefined && after <= seq)) {
        throw new Unreadable(REORDERED);
      }
    }
    counters.splice(place, 0, counter);
    seqs.splice(place, 0, number);
    if (counters.length > WINDOW) {
      counters.shift();
      seqs.shift();
    }
  }

  private begin(age: number): void {
    this.age = age;
    this.counters.forEach((counter, place) => {
      this.former.set(counter, this.seqs[place] as number);
    });
    const old = [...this.former.keys()].sort((a, b) => a - b).slice(0, -WINDOW);
    for (const counter of old) this.former.delete(counter);
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

function put<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value as string);
}

function bigEndian(number: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = size - 1, rest = number; rest > 0; at -= 1, rest = Math.floor(rest / 256))
    bytes[at] = rest % 256;
  return bytes;
}

function joined(parts: Uint8Array[]): Uint8Array {
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

/** The bytes, of that size, that are written so in the one way in which they can be; null: there are none. */
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
  if (bits & ((1 << have) - 1)) return null; // bits that stand for nothing
  return size === undefined || size === data.length ? data : null;
}
