// What is new in the conversation that is looked at, for those who listen: one sentence each in a live log that nobody
// sees. In a busy room a few of them are said and the others counted: a voice cannot be skimmed.

import type { Entry } from "../core/api.ts";
import { h } from "./dom.ts";
import { spokenLine } from "./row.ts";

const PACE = 2000; // ms between two rounds
const MOST = 4; // sentences in one
const KEPT = 30; // sentences in the page

export class Announcer {
  #waiting: string[] = [];
  #opening = new Set<string>(); // keys of what is being decrypted
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly region: HTMLElement) {}

  entries(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.old || entry.mine) continue;
      if (entry.sealed === "opening") this.#opening.add(entry.key);
      else this.say(spokenLine(entry));
    }
  }

  /** It is another now: what was new but still to be decrypted is said when it can be read. */
  changed(entry: Entry): void {
    if (entry.state === "failed") this.say(`Not sent: ${entry.problem}`);
    if (entry.sealed !== "opening" && this.#opening.delete(entry.key)) this.say(spokenLine(entry));
  }

  say(text: string): void {
    if (this.#waiting.length < 1000) this.#waiting.push(text);
    this.#timer ??= setTimeout(() => this.#round(), 100); // what comes together is said together
  }

  /** Another conversation is looked at: what was still to be said is not of this one. */
  hush(): void {
    this.#waiting = [];
    this.#opening.clear();
  }

  #round(): void {
    const said = this.#waiting.splice(0, MOST);
    const more = this.#waiting.length;
    if (more > MOST) {
      this.#waiting = [];
      said.push(`and ${more} more messages`);
    }
    for (const text of said) this.region.append(h("p", { dir: "auto" }, text));
    while (this.region.childElementCount > KEPT) this.region.firstElementChild?.remove();
    this.#timer = said.length ? setTimeout(() => this.#round(), PACE) : undefined;
  }
}
