// The body of a message as elements: text, links and code. A very long one is collapsed.

import { h } from "./dom.ts";
import { parseMarkup } from "./markup.ts";

const MAX_LENGTH = 2500; // characters; MAX_LINES limits as well
const MAX_LINES = 25;

export function isLong(body: string): boolean {
  return preview(body).length < body.length;
}

/** Return the part that is shown while collapsed: everything, if the body is not long. */
export function preview(body: string): string {
  let end = 0;
  for (let lines = 1; ; lines++) {
    const feed = body.indexOf("\n", end);
    if (feed === -1 || feed >= MAX_LENGTH) break;
    if (lines > MAX_LINES) return body.slice(0, end - 1);
    end = feed + 1;
  }
  if (body.length <= MAX_LENGTH) return body;
  // Never cut a link: half of it leads elsewhere.
  const space = body.slice(0, MAX_LENGTH).search(/\s\S{0,250}$/);
  if (space !== -1) return body.slice(0, space);
  return body.slice(0, /[\ud800-\udbff]/.test(body.charAt(MAX_LENGTH - 1)) ? MAX_LENGTH - 1 : MAX_LENGTH);
}

export function bodyElements(body: string): (Node | string)[] {
  return parseMarkup(body).map((piece) => {
    if (piece.kind === "text") return piece.text;
    if (piece.kind === "code") return h("code", { dir: "auto" }, piece.text);
    if (piece.kind === "block") return h("pre", { dir: "auto", tabindex: 0 }, h("code", {}, piece.text));
    const link = h(
      "a",
      { href: piece.href, target: "_blank", rel: "noopener noreferrer", dir: "ltr", title: piece.href },
      piece.text,
    );
    if (!piece.host) return link;
    return h("span", {}, link, " ", h("span", { class: "host", dir: "ltr" }, `(leads to ${piece.host})`));
  });
}
