// What the connection is doing, in words, with the button that fits. The chat stays readable above it.

import type { Chat, LinkState } from "../core/api.ts";
import { byId, h } from "./dom.ts";
import { asSentence } from "./sentence.ts";

/** Those that only another name or a password helps against. */
export const NEEDS_SIGN_IN = new Set([
  "password-needed",
  "wrong-password",
  "too-many-tries",
  "name-taken",
  "bad-name",
]);

/** Somebody wanted one out: one comes back on purpose, and not by a key or a click that was meant for something else. */
const REMOVED_BY_OPERATOR = new Set(["kicked", "banned"]);

export class Status {
  readonly #element = byId("status", HTMLElement);
  readonly #text = h("span", { class: "text", dir: "auto" });
  readonly #seconds = h("span", { class: "seconds", "aria-hidden": "true" }); // not read out each second
  readonly #button = h("button", { type: "button", class: "small" });
  #action: () => void = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly chat: Chat,
    private readonly signOut: () => void, // back to the entrance
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
        this.#seconds.textContent = left ? `in ${left} s` : "now";
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
        return [link.attempt > 1 ? "Connecting again…" : "Connecting…", "", nothing];
      case "waiting":
        return [
          `${asSentence(link.reason, "The connection is lost")} Trying again`,
          "Try now",
          () => this.chat.reconnect(),
        ];
      case "stopped":
        if (link.canRetry) {
          const button = REMOVED_BY_OPERATOR.has(link.code) ? "Try to come back" : "Connect again";
          return [asSentence(link.reason, "The connection has ended"), button, () => this.chat.reconnect()];
        }
        return [asSentence(link.reason, "The connection has ended"), "Back to the start", this.signOut];
    }
  }
}
