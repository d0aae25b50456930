// What the connection is doing, in words, with the button that fits. The chat stays readable above it.

import type { Chat, Link } from "../core/api.ts";
import { h, part } from "./dom.ts";
import { sentence } from "./sentence.ts";

/** Those that only another name or a password helps against. */
export const AT_THE_DOOR = new Set([
  "password-needed",
  "wrong-password",
  "too-many-tries",
  "name-taken",
  "bad-name",
]);

/** Somebody wanted one out: one comes back on purpose, and not by a key or a click that was meant for something else. */
const PUT_OUT = new Set(["kicked", "banned"]);

export class Status {
  readonly #element = part("status", HTMLElement);
  readonly #text = h("span", { class: "text", dir: "auto" });
  readonly #seconds = h("span", { class: "seconds", "aria-hidden": "true" }); // not read out each second
  readonly #button = h("button", { type: "button", class: "small" });
  #act: () => void = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly chat: Chat,
    private readonly leave: () => void, // back to the entrance
  ) {
    this.#button.addEventListener("click", () => this.#act());
    this.#element.append(this.#text, this.#seconds, this.#button);
  }

  update(): void {
    const { link } = this.chat;
    this.#element.dataset.state = link.state;
    clearInterval(this.#timer);
    this.#seconds.textContent = "";
    const [text, button, act] = this.#words(link);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    const focused = document.activeElement === this.#button;
    this.#button.hidden = !button;
    this.#button.textContent = button;
    this.#act = act;
    this.#button.classList.toggle("aside", link.state === "stopped" && PUT_OUT.has(link.code));
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

  #words(link: Link): [text: string, button: string, act: () => void] {
    const nothing = (): void => {};
    switch (link.state) {
      case "idle":
      case "online":
        return ["", "", nothing];
      case "connecting":
        return [link.attempt > 1 ? "Connecting again…" : "Connecting…", "", nothing];
      case "waiting":
        return [
          `${sentence(link.why, "The connection is lost")} Trying again`,
          "Try now",
          () => this.chat.again(),
        ];
      case "stopped":
        if (link.again) {
          const button = PUT_OUT.has(link.code) ? "Try to come back" : "Connect again";
          return [sentence(link.why, "The connection has ended"), button, () => this.chat.again()];
        }
        return [sentence(link.why, "The connection has ended"), "Back to the start", this.leave];
    }
  }
}
