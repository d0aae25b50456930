// Sidebars of a narrow page: they open over the messages by a button, one at a time, and make the messages
// inert. Opening moves the focus into the sidebar. Escape, its button, the backdrop or a choice closes it and
// restores the focus.

import { byId } from "./dom.ts";

interface Sidebar {
  panel: HTMLElement;
  button: HTMLElement;
  close: HTMLElement;
  isNarrow: MediaQueryList; // true: it opens over the messages; false: it is a column
}

export class Sidebars {
  readonly #mainColumn = byId("main-column", HTMLElement);
  readonly #backdrop = byId("backdrop", HTMLElement);
  readonly #sidebars: readonly Sidebar[];
  #open: Sidebar | undefined;

  constructor() {
    const sidebar = (name: string, width: number): Sidebar => ({
      panel: byId(`${name}-panel`, HTMLElement),
      button: byId(`${name}-button`, HTMLElement),
      close: byId(`${name}-close`, HTMLElement),
      isNarrow: matchMedia(`(max-width: ${width - 0.02}px)`), // the same widths as in style.css
    });
    this.#sidebars = [sidebar("rooms", 700), sidebar("people", 960)];
    for (const one of this.#sidebars) {
      one.button.addEventListener("click", () => (this.#open === one ? this.close() : this.#show(one)));
      one.close.addEventListener("click", () => this.close());
      one.isNarrow.addEventListener("change", () => this.close());
    }
    this.#backdrop.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        this.close();
      }
    });
  }

  /** `restoreFocus`: move the focus to the button that opened it. */
  close(restoreFocus = true): void {
    const open = this.#open;
    if (!open) return;
    this.#open = undefined;
    delete open.panel.dataset.open;
    open.button.setAttribute("aria-expanded", "false");
    this.#backdrop.hidden = true;
    this.#mainColumn.inert = false;
    if (restoreFocus) open.button.focus();
  }

  #show(sidebar: Sidebar): void {
    this.close(false);
    this.#open = sidebar;
    sidebar.panel.dataset.open = "";
    sidebar.button.setAttribute("aria-expanded", "true");
    this.#backdrop.hidden = false;
    this.#mainColumn.inert = true;
    const here = sidebar.panel.querySelector<HTMLElement>('[aria-current="true"]');
    (here ?? sidebar.close).focus();
  }
}
