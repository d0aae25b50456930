// User menu: notifications, help, sign out.

import type { Chat } from "../core/api.ts";
import { bdi, byId, h } from "./dom.ts";
import { type Icon, icon } from "./icons.ts";
import { avatar } from "./names.ts";
import type { Notifier } from "./notifier.ts";

export class Menu {
  readonly #button = byId("menu-button", HTMLButtonElement);
  readonly #menu = byId("menu", HTMLElement);
  readonly #footer = byId("user-footer", HTMLElement);
  #name: string | undefined;

  constructor(
    private readonly chat: Chat,
    private readonly notifier: Notifier,
    private readonly help: () => void,
    private readonly signOut: () => void,
  ) {
    this.#button.addEventListener("click", () => this.#toggle(this.#menu.hidden === true));
    this.#footer.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#menu.hidden) return;
      event.stopPropagation(); // close only the menu, not the sidebar around it
      this.#toggle(false);
      this.#button.focus();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.#footer.contains(event.target as Node)) this.#toggle(false);
    });
    this.#footer.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !this.#footer.contains(event.relatedTarget as Node)) this.#toggle(false);
    });
  }

  update(): void {
    if (this.chat.name === this.#name) return;
    this.#name = this.chat.name;
    this.#button.replaceChildren(
      avatar(this.#name),
      h("span", { class: "label" }, bdi(this.#name), h("span", { class: "visually-hidden" }, ", menu")),
      icon("more"),
    );
  }

  #toggle(open: boolean): void {
    if (open === !this.#menu.hidden) return;
    this.#menu.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    if (open) this.#draw();
  }

  #draw(): void {
    const item = (drawing: Icon, text: string, about: string, action: () => void): HTMLElement =>
      h(
        "button",
        { type: "button", onclick: action },
        icon(drawing),
        h("span", {}, text, about ? h("small", {}, about) : null),
      );
    const close = (action: () => void) => (): void => {
      this.#toggle(false);
      this.#button.focus();
      action();
    };
    const items: HTMLElement[] = [];
    const toggle = (): void => void this.notifier.toggle().then(() => this.#menu.hidden || this.#draw());
    switch (this.notifier.state) {
      case "off":
        items.push(
          item("bell", "Notify me", "of mentions and direct messages while this page is hidden", toggle),
        );
        break;
      case "on":
        items.push(item("bell", "Do not notify me", "of mentions and direct messages", toggle));
        break;
      case "forbidden":
        items.push(
          h(
            "p",
            { class: "dim" },
            "Notifications are off: the browser’s settings forbid them for this page.",
          ),
        );
        break;
      case "impossible":
        break;
    }
    items.push(
      item("help", "Help", "commands and keys", close(this.help)),
      item("signOut", "Sign out", "", close(this.signOut)),
    );
    const refocus = this.#menu.contains(document.activeElement);
    this.#menu.replaceChildren(...items);
    if (refocus) this.#menu.querySelector("button")?.focus();
  }
}
