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

const STARTS = /https?:\/\//gi;
const JOINS_START = /[\p{Script=Latin}0-9_]/u; // xhttp:// is no URL; Chinese has no space before one
// Characters that end a URL wherever they stand: white space, quotes, the backslash of an escaped control
// character, invisible characters, and beyond ASCII also the punctuation of sentences and wide dashes, because
// many scripts put no space after them. A person who means such a character copies it from the browser as %xx.
const ENDS =
  /[\s<>"`\\\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u2014\u2015\u2e3a\u2e3b｜]|(?![ -~])[\p{Terminal_Punctuation}\p{Quotation_Mark}\p{Pi}\p{Pf}]/u;
const APOSTROPHE = "\u2019"; // a letter of L’Étranger, or the end of a quotation
const TRAILING = /[.,;:!?'*_~|]|(?![ -~])[\p{Po}\p{Pd}～]/u; // at the end they belong to the sentence, not to the URL
const OPENING = /\p{Ps}/u;
const CLOSING = /\p{Pe}/u;
const ELIDED = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]/u; // letters that may follow an apostrophe

function addLinks(text: string, found: Piece[]): void {
  let plain = 0; // start of the text that is not in a piece yet
  STARTS.lastIndex = 0;
  for (let start = STARTS.exec(text); start && found.length < MAX_PIECES; start = STARTS.exec(text)) {
    if (JOINS_START.test(text.charAt(start.index - 1))) continue;
    const { end, searched } = urlEnd(text, start.index, STARTS.lastIndex);
    STARTS.lastIndex = searched;
    const written = text.slice(start.index, end);
    const where = parseUrl(written);
    if (!where) continue;
    if (start.index > plain) found.push({ kind: "text", text: text.slice(plain, start.index) });
    found.push({ kind: "link", text: written, href: where.href, host: hiddenHost(written, where) });
    plain = end;
  }
  if (plain < text.length) found.push({ kind: "text", text: text.slice(plain) });
}

/**
 * Return where the URL from `start` ends. It ends before a bracket that has no partner in it. `searched`: the
 * next URL can only begin from there.
 */
function urlEnd(text: string, start: number, afterScheme: number): { end: number; searched: number } {
  const quote = text[start - 1]; // 'https://a.example' in quotes
  const open: { bracket: string; at: number }[] = [];
  let at = afterScheme;
  while (at < text.length) {
    const character = String.fromCodePoint(text.codePointAt(at) as number);
    if (character === APOSTROPHE) {
      const isQuoted = quote === "\u2018" || quote === "\u201a" || quote === APOSTROPHE;
      if (isQuoted || !ELIDED.test(text.charAt(at + 1))) break;
    } else if (ENDS.test(character) || (character === "'" && quote === "'")) break;
    if (OPENING.test(character)) open.push({ bracket: character, at });
    else if (CLOSING.test(character)) {
      if (!isPair(open.at(-1)?.bracket, character)) break;
      open.pop();
    } else if (/[,;|*]/.test(character) && isScheme(text, at + 1)) break; // two URLs
    if (open.at(-1)?.at === at && isScheme(text, at + 1)) break;
    at += character.length;
  }
  let end = open[0]?.at ?? at;
  for (let last = lastCharacter(text, end); end > afterScheme && TRAILING.test(last); ) {
    end -= last.length;
    last = lastCharacter(text, end);
  }
  return { end, searched: at };
}

/** Return the last character of `text.slice(0, end)`, perhaps two code units. */
function lastCharacter(text: string, end: number): string {
  return text.slice(/[\udc00-\udfff]/.test(text.charAt(end - 1)) ? end - 2 : end - 1, end);
}

/** Whether the brackets belong together. In Unicode a closing bracket follows its opening one at once, or as the next but one. */
function isPair(opening: string | undefined, closing: string): boolean {
  const distance = (closing.codePointAt(0) ?? 0) - (opening?.codePointAt(0) ?? 0);
  return opening !== undefined && (distance === 1 || distance === 2);
}

function isScheme(text: string, at: number): boolean {
  return /^https?:\/\//i.test(text.slice(at, at + 8));
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
