// How a name looks: in its colour, and as a disc with its first letter, which is there for the eye alone.

import { hueOf, initialOf } from "./colour.ts";
import { bdi, h } from "./dom.ts";

export function avatar(name: string): HTMLElement {
  const element = h("span", { class: "avatar", "aria-hidden": "true" }, initialOf(name));
  element.style.setProperty("--hue", String(hueOf(name)));
  return element;
}

export function nameElement(name: string): HTMLElement {
  const element = bdi(name, "name");
  element.style.setProperty("--hue", String(hueOf(name)));
  return element;
}
