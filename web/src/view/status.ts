// Status line of the connection, with a button that fits the state. The chat stays readable above it.

import type { Chat, LinkState } from "../core/api.ts";
import { byId, h } from "./dom.ts";
import { asSentence } from "./sentence.ts";

/** Codes after which the user must give another name or password. */
export const NEEDS_SIGN_IN = new Set([
  "password-needed",
  "wrong-password",
  "too-many-tries",
  "name-taken",
  "bad-name",
]);

/**
 * The operator removed the user, who can come back on purpose, but not by a key press or click meant for
 * another button.
 */
const REMOVED_BY_OPERATOR = new Set(["kicked", "banned"]);

export class Status {
  readonly #element = byId("status", HTMLElement);
  readonly #text = h("span", { class: "text", dir: "auto" });
  readonly #seconds = h("span", { class: "seconds", "aria-hidden": "true" }); // screen readers skip the countdown
  readonly #button = h("button", { type: "button", class: "small" });
  #action: () => void = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly chat: Chat,
    private readonly signOut: () => void, // back to the sign-in form
  ) {
    this.#button.addEventListener("click", () => this.#action());
    this.#element.append(this.#text, this.#seconds, this.#button);
  }

  update(): void {
    const { link } = this.chat;
    this.#element.dataset.state = link.state;
    clearInterval(this.#timer);
    this.#seconds.textContent = "";
    const [text, button, action] = this.#describe(link);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    const focused = document.activeElement === this.#button;
    this.#button.hidden = !button;
    this.#button.textContent = button;
    this.#action = action;
    this.#button.classList.toggle("push-end", link.state === "stopped" && REMOVED_BY_OPERATOR.has(link.code));
    if (focused && !button) document.getElementById("input")?.focus();
    if (link.state === "waiting") {
      const count = (): void => {
        const left = Math.max(0, Math.ceil((link.until - Date.now()) / 1000));
        this.#seconds.textContent = left ? `in ${left} s.` : "now.";
      };
      count();
      this.#timer = setInterval(count, 1000);
    }
  }

  #describe(link: LinkState): [text: string, button: string, act: () => void] {
    const nothing = (): void => {};
    switch (link.state) {
      case "idle":
      case "online":
        return ["", "", nothing];
      case "connecting":
        return [link.attempt > 1 ? "Reconnecting…" : "Connecting…", "", nothing];
      case "waiting":
        return [
          `${asSentence(link.reason, "The connection was lost")} Trying again`,
          "Try now",
          () => this.chat.reconnect(),
        ];
      case "stopped":
        if (link.canRetry) {
          const button = REMOVED_BY_OPERATOR.has(link.code) ? "Try to come back" : "Reconnect";
          return [asSentence(link.reason, "The connection has ended"), button, () => this.chat.reconnect()];
        }
        return [
          asSentence(link.reason, "The connection has ended"),
          "Back to the sign-in form",
          this.signOut,
        ];
    }
  }
}
