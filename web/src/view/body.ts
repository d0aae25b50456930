// What somebody wrote, as elements: text, links and code, and a fold where it is very long.

import { h } from "./dom.ts";
import { pieces } from "./text.ts";

const LONG = 2500; // characters; lines beyond LINES count as well
const LINES = 25;

export function isLong(body: string): boolean {
  if (body.length > LONG) return true;
  let lines = 0;
  for (let at = body.indexOf("\n"); at !== -1 && lines <= LINES; at = body.indexOf("\n", at + 1)) lines++;
  return lines > LINES;
}

export function written(body: string): (Node | string)[] {
  return pieces(body).map((piece) => {
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
