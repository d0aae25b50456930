// What somebody wrote, as elements: text, links and code, and a fold where it is very long.

import { h } from "./dom.ts";
import { parseMarkup } from "./markup.ts";

const MAX_LENGTH = 2500; // characters; lines beyond LINES count as well
const MAX_LINES = 25;

export function isLong(body: string): boolean {
  return preview(body).length < body.length;
}

/** As much of it as is in the page before one asks for the rest: all of it, if it is not long. */
export function preview(body: string): string {
  let end = 0;
  for (let lines = 1; ; lines++) {
    const feed = body.indexOf("\n", end);
    if (feed === -1 || feed >= MAX_LENGTH) break;
    if (lines > MAX_LINES) return body.slice(0, end - 1);
    end = feed + 1;
  }
  if (body.length <= MAX_LENGTH) return body;
  const space = body.slice(0, MAX_LENGTH).search(/\s\S{0,250}$/); // half of a link leads elsewhere
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
