// The way in: who are you? The password is asked for only where the server wants one. What is wrong stands at the field
// it is about, with what to do.

import type { Chat, Link, Start } from "../core/api.ts";
import { part, say } from "./dom.ts";
import { sentence } from "./sentence.ts";
import { AT_THE_DOOR } from "./status.ts";
import { remember, remembered } from "./store.ts";

export class Entrance {
  readonly #form = part("entry", HTMLFormElement);
  readonly #name = part("name", HTMLInputElement);
  readonly #nameProblem = part("name-problem", HTMLElement);
  readonly #passwordPart = part("password-part", HTMLElement);
  readonly #password = part("password", HTMLInputElement);
  readonly #passwordProblem = part("password-problem", HTMLElement);
  readonly #join = part("join", HTMLButtonElement);
  readonly #status = part("entry-status", HTMLElement);
  #told: Link | undefined; // whose problem is shown

  constructor(
    private readonly chat: Chat,
    private readonly enter: (how: Start) => void,
  ) {
    this.#name.value = remembered("name");
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter();
    });
    for (const field of [this.#name, this.#password])
      field.addEventListener("input", () => this.#wrong(field, ""));
  }

  /** Put the focus where there is something to do. */
  focus(): void {
    const field = this.#name.value && !this.#passwordPart.hidden ? this.#password : this.#name;
    field.focus();
    if (field === this.#name) field.select();
  }

  /** `wanted`: one wants to be in; the end of a connection that one has ended is no problem. */
  update(wanted: boolean): void {
    const { link } = this.chat;
    const busy = wanted && link.state === "connecting";
    this.#join.setAttribute("aria-disabled", String(busy));
    this.#join.textContent = busy ? "Connecting…" : "Join the chat";
    say(
      this.#status,
      wanted && link.state === "waiting"
        ? `${sentence(link.why, "The server does not answer")} It is tried again by itself.`
        : "",
    );
    if (!wanted || link.state !== "stopped" || link === this.#told) return;
    this.#told = link;
    switch (link.code) {
      case "password-needed":
        this.#askPassword("This chat has a password: ask whoever runs it.", !!this.#password.value);
        break;
      case "wrong-password":
        this.#askPassword("That is not the password. Try it again; capitals count.", true);
        break;
      case "too-many-tries":
        this.#askPassword("Too many wrong passwords: wait a minute, then try it again.", true);
        break;
      case "name-taken":
        this.#wrong(this.#name, "Someone else has this name. Take another one.");
        this.focus();
        break;
      case "bad-name":
        this.#wrong(this.#name, `This name cannot be used. ${sentence(link.why, "Take another one")}`);
        this.focus();
        break;
      default:
        say(this.#status, sentence(link.why, "The connection has ended"));
    }
  }

  #enter(): void {
    if (this.#join.getAttribute("aria-disabled") === "true") return;
    const name = this.#name.value.trim();
    if (!name) {
      this.#wrong(this.#name, "Write the name that the others are to see.");
      this.#name.focus();
      return;
    }
    this.#wrong(this.#name, "");
    this.#wrong(this.#password, "");
    remember("name", name);
    const password = this.#passwordPart.hidden ? "" : this.#password.value;
    this.enter(password ? { name, password } : { name });
  }

  #askPassword(problem: string, wrong: boolean): void {
    this.#passwordPart.hidden = false;
    this.#wrong(this.#password, problem);
    if (!wrong) this.#password.removeAttribute("aria-invalid");
    this.#password.focus();
    this.#password.select();
  }

  #wrong(field: HTMLInputElement, problem: string): void {
    say(field === this.#name ? this.#nameProblem : this.#passwordProblem, problem);
    if (problem) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}

/** Whether only the entrance helps on. */
export function outside(link: Link): boolean {
  return link.state === "idle" || (link.state === "stopped" && AT_THE_DOOR.has(link.code));
}
