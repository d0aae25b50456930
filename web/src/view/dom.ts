// Makes elements. All untrusted text enters the page here, as text only: nothing is parsed as markup, and no
// attribute name comes from outside.

export type Child = Node | string | null | undefined | false;
type Value = string | number | boolean | undefined | ((event: never) => void);

/** Make an element with attributes (true: empty; false or undefined: none), listeners (names that start with "on") and
 * children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as (event: Event) => void);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: readonly Child[]): void {
  for (const child of children) {
    if (child instanceof Node) parent.appendChild(child);
    else if (child) parent.appendChild(document.createTextNode(child));
  }
}

/** Make an element for screen readers only. */
export function screenReaderText(text: string): HTMLElement {
  return h("span", { class: "visually-hidden" }, text);
}

/** Make an element for untrusted text whose writing direction must not affect its surroundings. */
export function bdi(text: string, className?: string): HTMLElement {
  return h("bdi", { class: className }, text);
}

/** Return the element of index.html with that id. A missing one is a bug. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/**
 * Set the text of an element if it differs: setting the same text again would make a live region speak again.
 */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
