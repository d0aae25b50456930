// The way in: who are you? The password is asked for only where the server wants one. What is wrong stands at the field
// it is about, with what to do.

import type { Chat, LinkState, SignIn } from "../core/api.ts";
import { byId, setText } from "./dom.ts";
import { getPreference, setPreference } from "./preferences.ts";
import { asSentence } from "./sentence.ts";
import { NEEDS_SIGN_IN } from "./status.ts";

export class SignInForm {
  readonly #form = byId("sign-in-form", HTMLFormElement);
  readonly #name = byId("name", HTMLInputElement);
  readonly #nameProblem = byId("name-problem", HTMLElement);
  readonly #passwordField = byId("password-field", HTMLElement);
  readonly #password = byId("password", HTMLInputElement);
  readonly #passwordProblem = byId("password-problem", HTMLElement);
  readonly #join = byId("join", HTMLButtonElement);
  readonly #status = byId("sign-in-status", HTMLElement);
  #shownLink: LinkState | undefined; // whose problem is shown

  constructor(
    private readonly chat: Chat,
    private readonly signIn: (how: SignIn) => void,
  ) {
    this.#name.value = getPreference("name");
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const field of [this.#name, this.#password])
      field.addEventListener("input", () => this.#setProblem(field, ""));
  }

  /** Put the focus where there is something to do. */
  focus(): void {
    const field = this.#name.value && !this.#passwordField.hidden ? this.#password : this.#name;
    field.focus();
    if (field === this.#name) field.select();
  }

  /** `wanted`: one wants to be in; the end of a connection that one has ended is no problem. */
  update(isWanted: boolean): void {
    const { link } = this.chat;
    const isBusy = isWanted && link.state === "connecting";
    this.#join.setAttribute("aria-disabled", String(isBusy));
    this.#join.textContent = isBusy ? "Connecting…" : "Join the chat";
    setText(
      this.#status,
      isWanted && link.state === "waiting"
        ? `${asSentence(link.reason, "The server does not answer")} It is tried again by itself.`
        : "",
    );
    if (!isWanted || link.state !== "stopped" || link === this.#shownLink) return;
    this.#shownLink = link;
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
        this.#setProblem(this.#name, "Someone else has this name. Take another one.");
        this.focus();
        break;
      case "bad-name":
        this.#setProblem(
          this.#name,
          `This name cannot be used. ${asSentence(link.reason, "Take another one")}`,
        );
        this.focus();
        break;
      default:
        setText(this.#status, asSentence(link.reason, "The connection has ended"));
    }
  }

  #submit(): void {
    if (this.#join.getAttribute("aria-disabled") === "true") return;
    const name = this.#name.value.trim();
    if (!name) {
      this.#setProblem(this.#name, "Write the name that the others are to see.");
      this.#name.focus();
      return;
    }
    this.#setProblem(this.#name, "");
    this.#setProblem(this.#password, "");
    setPreference("name", name);
    const password = this.#passwordField.hidden ? "" : this.#password.value;
    this.signIn(password ? { name, password } : { name });
  }

  #askPassword(problem: string, isInvalid: boolean): void {
    this.#passwordField.hidden = false;
    this.#setProblem(this.#password, problem);
    if (!isInvalid) this.#password.removeAttribute("aria-invalid");
    this.#password.focus();
    this.#password.select();
  }

  #setProblem(field: HTMLInputElement, problem: string): void {
    setText(field === this.#name ? this.#nameProblem : this.#passwordProblem, problem);
    if (problem) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}

/** Whether only the entrance helps on. */
export function isSignInNeeded(link: LinkState): boolean {
  return link.state === "idle" || (link.state === "stopped" && NEEDS_SIGN_IN.has(link.code));
}
