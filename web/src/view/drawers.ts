// On a narrow page the two lists are drawers behind buttons: one at a time, over the messages, which are inert
// meanwhile. Opening moves the focus into it; Escape, its button, the shade and a choice close it and give the focus back.

import { part } from "./dom.ts";

interface Drawer {
  panel: HTMLElement;
  button: HTMLElement;
  close: HTMLElement;
  narrow: MediaQueryList; // where it is a drawer, and not a column
}

export class Drawers {
  readonly #middle = part("middle", HTMLElement);
  readonly #shade = part("shade", HTMLElement);
  readonly #drawers: readonly Drawer[];
  #open: Drawer | undefined;

  constructor() {
    const drawer = (name: string, width: number): Drawer => ({
      panel: part(`${name}-panel`, HTMLElement),
      button: part(`${name}-button`, HTMLElement),
      close: part(`${name}-close`, HTMLElement),
      narrow: matchMedia(`(max-width: ${width - 0.02}px)`), // the same widths as in style.css
    });
    this.#drawers = [drawer("rooms", 700), drawer("people", 960)];
    for (const one of this.#drawers) {
      one.button.addEventListener("click", () => (this.#open === one ? this.close() : this.#show(one)));
      one.close.addEventListener("click", () => this.close());
      one.narrow.addEventListener("change", () => this.close());
    }
    this.#shade.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        this.close();
      }
    });
  }

  /** `back`: the focus goes to the button that opened it. */
  close(back = true): void {
    const open = this.#open;
    if (!open) return;
    this.#open = undefined;
    delete open.panel.dataset.open;
    open.button.setAttribute("aria-expanded", "false");
    this.#shade.hidden = true;
    this.#middle.inert = false;
    if (back) open.button.focus();
  }

  #show(drawer: Drawer): void {
    this.close(false);
    this.#open = drawer;
    drawer.panel.dataset.open = "";
    drawer.button.setAttribute("aria-expanded", "true");
    this.#shade.hidden = false;
    this.#middle.inert = true;
    const here = drawer.panel.querySelector<HTMLElement>('[aria-current="true"]');
    (here ?? drawer.close).focus();
  }
}
