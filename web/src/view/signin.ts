// Sign-in form. It asks for a password only if the server requires one. A problem is shown at its field, with
// the solution.

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
  #shownLink: LinkState | undefined; // the state whose problem is shown

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

  /** Focus the field that the user must fill in. */
  focus(): void {
    const field = this.#name.value && !this.#passwordField.hidden ? this.#password : this.#name;
    field.focus();
    if (field === this.#name) field.select();
  }

  /** `isWanted`: the user wants to be signed in. Signing out is not a problem. */
  update(isWanted: boolean): void {
    const { link } = this.chat;
    const isBusy = isWanted && link.state === "connecting";
    this.#join.setAttribute("aria-disabled", String(isBusy));
    this.#join.textContent = isBusy ? "Connecting…" : "Sign in";
    setText(
      this.#status,
      isWanted && link.state === "waiting"
        ? `${asSentence(link.reason, "The server does not answer")} The page will try again.`
        : "",
    );
    if (!isWanted || link.state !== "stopped" || link === this.#shownLink) return;
    this.#shownLink = link;
    switch (link.code) {
      case "password-needed":
        this.#askPassword("This chat has a password. Ask the person who runs it.", !!this.#password.value);
        break;
      case "wrong-password":
        this.#askPassword("Wrong password. Try again, and check capital letters.", true);
        break;
      case "too-many-tries":
        this.#askPassword("Too many wrong passwords. Wait a minute, then try again.", true);
        break;
      case "name-taken":
        this.#setProblem(this.#name, "That name is taken. Choose another.");
        this.focus();
        break;
      case "bad-name":
        this.#setProblem(this.#name, `This name is not valid. ${asSentence(link.reason, "Choose another")}`);
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
      this.#setProblem(this.#name, "Enter the name that others will see.");
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

/** Whether the user must fill in the sign-in form. */
export function isSignInNeeded(link: LinkState): boolean {
  return link.state === "idle" || (link.state === "stopped" && NEEDS_SIGN_IN.has(link.code));
}
