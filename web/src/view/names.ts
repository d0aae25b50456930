// Names in their colour, and avatars, which screen readers skip.

import { initialOf, Palette } from "./colour.ts";
import { bdi, h } from "./dom.ts";

const palette = new Palette();

export function avatar(name: string): HTMLElement {
  const element = h("span", { class: "avatar", "aria-hidden": "true" }, initialOf(name));
  element.style.setProperty("--hue", String(palette.hueOf(name)));
  return element;
}

export function nameElement(name: string): HTMLElement {
  const element = bdi(name, "name");
  element.style.setProperty("--hue", String(palette.hueOf(name)));
  return element;
}
