// Elements from code. Whatever people wrote gets into the page here and only as text: nothing is ever parsed as
// markup, and no attribute is set whose name came from outside.

export type Child = Node | string | null | undefined | false;
type Value = string | number | boolean | undefined | ((event: never) => void);

/** An element with attributes (true: an empty one; false or undefined: none), listeners (names that begin with "on")
 * and children. */
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

/** What is there only for those who listen. */
export function screenReaderText(text: string): HTMLElement {
  return h("span", { class: "visually-hidden" }, text);
}

/** A name or another word of someone's, whose direction of writing must not touch what is around it. */
export function bdi(text: string, className?: string): HTMLElement {
  return h("bdi", { class: className }, text);
}

/** The element of index.html with that id; a missing one is a mistake in the page. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/** Set the text of an element if it is another one: a live region that is written again is read out again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
