// Announcements for screen readers: one sentence for each new entry of the open conversation, in a live
// region that is visually hidden. In a busy room it reads a few and counts the others, because nobody can
// skim speech.

import type { Entry } from "../core/api.ts";
import { h } from "./dom.ts";
import { screenReaderLine } from "./row-element.ts";

const INTERVAL = 2000; // ms between two rounds
const MAX_PER_ROUND = 4; // sentences in a round
const MAX_IN_PAGE = 30; // sentences to keep in the page

export class Announcer {
  #queue: string[] = [];
  #decrypting = new Set<string>(); // keys of entries
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly region: HTMLElement) {}

  announceEntries(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.isHistory || entry.isOwn) continue;
      if (entry.encryption === "decrypting") this.#decrypting.add(entry.key);
      else this.announce(screenReaderLine(entry));
    }
  }

  /** Announce a changed entry: a failed message, or a new one that has just been decrypted. */
  announceChange(entry: Entry): void {
    if (entry.state === "failed") this.announce(`Not sent: ${entry.problem}`);
    if (entry.encryption !== "decrypting" && this.#decrypting.delete(entry.key))
      this.announce(screenReaderLine(entry));
  }

  announce(text: string): void {
    if (this.#queue.length < 1000) this.#queue.push(text);
    this.#timer ??= setTimeout(() => this.#speakNext(), 100); // collect what arrives together
  }

  /** Forget the announcements of the previous conversation. */
  clear(): void {
    this.#queue = [];
    this.#decrypting.clear();
  }

  #speakNext(): void {
    const texts = this.#queue.splice(0, MAX_PER_ROUND);
    const more = this.#queue.length;
    if (more > MAX_PER_ROUND) {
      this.#queue = [];
      texts.push(`and ${more} more messages`);
    }
    for (const text of texts) this.region.append(h("p", { dir: "auto" }, text));
    while (this.region.childElementCount > MAX_IN_PAGE) this.region.firstElementChild?.remove();
    this.#timer = texts.length ? setTimeout(() => this.#speakNext(), INTERVAL) : undefined;
  }
}
