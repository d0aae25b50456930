// Parser for bodies: text, links, and code in backticks. Pure; other Markdown has no meaning.
// It takes linear time, so 64 KiB of backticks or brackets cost no more than 64 KiB of words.

export type Piece =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string } // within a line
  | { kind: "block"; text: string } // several lines
  | { kind: "link"; text: string; href: string; host: string }; // host: shown if the text of the link hides it

const MAX_PIECES = 400; // pieces of one body; the rest is text. 20,000 elements in a row take seconds to draw
// Combining marks on one character; languages need up to eight. A browser takes a second to draw 25,000 of
// them.
const MARKS = /(\p{M}{16})\p{M}+/gu;

export function parseMarkup(body: string): Piece[] {
  const text = body.replace(MARKS, "$1…");
  const found: Piece[] = [];
  let plain = 0; // start of the text that is not in a piece yet
  let at = text.indexOf("`");
  const addTextUpTo = (end: number): void => {
    if (end > plain) addLinks(text.slice(plain, end), found);
  };
  let hasNoBlock = false; // true: no ``` follows, so do not search again
  while (at !== -1 && found.length < MAX_PIECES) {
    let run = 1;
    while (text[at + run] === "`") run++;
    if (run >= 3 && !hasNoBlock) {
      const close = text.indexOf("```", at + run);
      if (close === -1) hasNoBlock = true;
      else {
        addTextUpTo(at);
        found.push({ kind: "block", text: stripLanguage(text.slice(at + 3, close)) });
        plain = close + 3;
        if (text[plain] === "\n") plain++; // the block already ends the line
        at = text.indexOf("`", plain);
        continue;
      }
    }
    if (run === 1) {
      const close = text.indexOf("`", at + 1);
      const code = close === -1 ? "" : text.slice(at + 1, close);
      if (close !== -1 && code.trim() !== "" && !code.includes("\n")) {
        addTextUpTo(at);
        found.push({ kind: "code", text: code });
        plain = close + 1;
        at = text.indexOf("`", plain);
        continue;
      }
    }
    at = text.indexOf("`", at + run);
  }
  addTextUpTo(text.length);
  return found;
}

/** Remove the name of a language from the first line of a block. */
function stripLanguage(code: string): string {
  return code.replace(/^[\w+#.-]{0,20}\n/, "").replace(/\n$/, "");
}

// A URL ends at white space, at quotes, and at invisible characters that change the text direction.
const URLS = /https?:\/\/[^\s<>"`\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+/gi;
const TRAILING = ".,;:!?'\"*_~…。、，؟"; // part of the sentence, not of the URL
const CLOSING: Record<string, string> = { ")": "(", "]": "[", "}": "{", "»": "«", "”": "“", "’": "‘" };

function addLinks(text: string, found: Piece[]): void {
  let plain = 0;
  for (const match of text.matchAll(URLS)) {
    if (found.length >= MAX_PIECES) break;
    const before = text[match.index - 1] ?? "";
    if (/[\p{L}\p{N}_]/u.test(before)) continue; // xhttp:// is no URL
    const written = trimUrl(match[0]);
    const where = parseUrl(written);
    if (!where) continue;
    if (match.index > plain) found.push({ kind: "text", text: text.slice(plain, match.index) });
    found.push({ kind: "link", text: written, href: where.href, host: hiddenHost(written, where) });
    plain = match.index + written.length;
  }
  if (plain < text.length) found.push({ kind: "text", text: text.slice(plain) });
}

/** Remove the punctuation of the sentence from a URL, and closing brackets that it does not open. */
function trimUrl(url: string): string {
  const open = new Map<string, number>(); // closed minus opened, of each bracket
  for (const character of url) {
    for (const [close, opening] of Object.entries(CLOSING)) {
      if (character === close) open.set(close, (open.get(close) ?? 0) + 1);
      else if (character === opening) open.set(close, (open.get(close) ?? 0) - 1);
    }
  }
  let end = url.length;
  while (end > 0) {
    const last = url[end - 1] as string;
    const extra = open.get(last) ?? 0;
    if (TRAILING.includes(last)) end--;
    else if (extra > 0) {
      open.set(last, extra - 1);
      end--;
    } else break;
  }
  return url.slice(0, end);
}

function parseUrl(url: string): URL | null {
  try {
    const where = new URL(url);
    return (where.protocol === "https:" || where.protocol === "http:") && where.hostname ? where : null;
  } catch {
    return null;
  }
}

/** Return the host if the text hides it: letters of another alphabet, or a name before an @. */
function hiddenHost(written: string, where: URL): string {
  const host = /^https?:\/\/([^/?#]*)/i.exec(written)?.[1] ?? "";
  const plain = host.toLowerCase().replace(/:\d*$/, "");
  return plain === where.hostname ? "" : where.hostname;
}
