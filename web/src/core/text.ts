// Untrusted text: compare names, and escape text for display. The same rules as selchat/text.py.

import type { Phrase } from "./api.ts";

// Default_Ignorable_Code_Point characters that are letters or marks by category, and the blank Braille
// pattern.
const INVISIBLE =
  /[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
// The characters that Python's \s matches, which differ from JavaScript's.
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;
const NOT_IN_NAMES = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu;

// Characters with a meaning in a line that shows a name, such as ">", ":" and brackets, and those that look like
// them: the same set as in selchat/text.py.
const DELIMITERS = new RegExp(
  String.raw`[",:<>()\[\]{}\u00ab\u00bb\u02ba\u02c2\u02c3\u02d0\u02f8\u0589\u05c3\u060c\u060d\u066b\u0703` +
    String.raw`\u0704\u0f3a-\u0f3d\u169b\u169c\u16ec\u1803\u1809\u201a\u201c-\u201f\u2033\u2036\u2039\u203a` +
    String.raw`\u2045\u2046\u205a\u207d\u207e\u208d\u208e\u2236\u226a\u226b\u226e\u226f\u227a\u227b\u22b2\u22b3` +
    String.raw`\u22d6-\u22d9\u2308-\u230b\u2329\u232a\u2474-\u2487\u249c-\u24b5\u25b6-\u25bb\u2768-\u2775` +
    String.raw`\u27a2-\u27a4\u27c5\u27c6\u27e6-\u27ef\u2983-\u2998\u29d8-\u29db\u29f4\u29fc\u29fd\u2a20\u2a74` +
    String.raw`\u2aa5\u2e02-\u2e05\u2e09\u2e0a\u2e0c\u2e0d\u2e1c\u2e1d\u2e20-\u2e29\u2e42\u2e55-\u2e5c\u3001` +
    String.raw`\u3003\u3008-\u3011\u3014-\u301b\u301d-\u301f\u3200-\u321e\u3220-\u3243\ua789\ufd3e\ufd3f\ufe10` +
    String.raw`\ufe13\ufe17\ufe18\ufe30\ufe35-\ufe44\ufe47\ufe48\ufe50\ufe55\ufe59-\ufe5e\ufe64\ufe65\uff02` +
    String.raw`\uff08\uff09\uff0c\uff1a\uff1c\uff1e\uff3b\uff3d\uff5b\uff5d\uff5f\uff60\uff62\uff63\u{10781}` +
    String.raw`\u{1f101}-\u{1f10a}\u{1f110}-\u{1f129}]`,
  "gu",
);
// Characters with a meaning at the start of a line or a word, such as "*", "-", "#", "@" and "/".
const PREFIXES = new RegExp(
  String.raw`^(?:[ \p{M}]|[#*/@\-\u00b7\u02d7\u058a\u05be\u066d\u06d4\u1400\u1735\u1806\u2010-\u2015\u2022\u2023\u2041` +
    String.raw`\u2043\u2044\u204e\u2051\u2212\u2215\u2217\u2219\u229b\u25e6\u2722-\u2725\u2731-\u2733` +
    String.raw`\u273a-\u273d\u2743\u2749-\u274b\u2796\u27cb\u29c6\u29f8\u2a6e\u2e17\u2e1a\u2e3a\u2e3b\u2e40` +
    String.raw`\u2e5d\u301c\u3030\u30a0\ua673\ufe31\ufe32\ufe58\ufe5f\ufe61\ufe63\ufe6b\uff03\uff0a\uff0d\uff0f` +
    String.raw`\uff20\u{10ead}\u{1f7af}-\u{1f7bf}])+`,
  "u",
);

// Characters that affect the text around them: controls, lone surrogates, line separators and format
// characters. Not the joiners, which Persian and some Indian scripts need, nor the tags, which make flags.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d\u{e0020}-\u{e007f}])\p{Cf}/gu;

export const SERVER_NAME = "Server"; // no user can have it
export const NAME_LENGTH = 32; // characters
const MAX_RAW_NAME = 1024; // characters of a name before it is cleaned; the rest has no effect

/** Return a name as the server cleans it, perhaps empty. */
export function cleanName(name: string, length = NAME_LENGTH): string {
  return cut(visible(name, length).replace(DELIMITERS, "").normalize("NFC").replace(PREFIXES, ""), length);
}

/** Return a name without the characters that cannot be seen or that change others, perhaps empty. */
export function visibleName(name: string, length = NAME_LENGTH): string {
  return cut(
    visible(name, length)
      .normalize("NFC")
      .replace(/^[ \p{M}]+/u, ""),
    length,
  );
}

function visible(name: string, length: number): string {
  return [...name]
    .slice(0, Math.max(MAX_RAW_NAME, 4 * length))
    .join("")
    .normalize("NFC")
    .replace(SPACES, " ")
    .replace(NOT_IN_NAMES, "")
    .replace(INVISIBLE, "");
}

function cut(name: string, length: number): string {
  const characters = [...name.replace(SPACES, " ")].slice(0, length);
  while (characters.at(-1) === " ") characters.pop();
  return characters.join("");
}

/**
 * Return the key of a name: two names are the same exactly if their keys are equal (Unicode's NFKC_Casefold).
 * Two texts match if their keys do.
 */
export function nameKey(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return name.toLowerCase();
  return normalized("NFKC", caseFolded(normalized("NFKC", name)));
}

/**
 * Normalize a text in linear time: a run of n combining marks takes n² steps, which is half a second for 64 KiB.
 * The result is the same for words of up to 256 characters.
 */
function normalized(form: "NFC" | "NFKC", text: string): string {
  return text.length <= 256
    ? text.normalize(form)
    : text.replace(/[^ ]{1,256}/gu, (word) => word.normalize(form));
}

/**
 * Full case folding, which JavaScript lacks: upper case, then lower case, one character at a time, so that no
 * rule for the end of a word applies. Cherokee folds to upper case, and two letters have no upper case that
 * folds to them.
 */
export function caseFolded(text: string): string {
  return text.replace(/\p{Cased}/gu, foldCharacter);
}

function foldCharacter(character: string): string {
  if (/[\u13a0-\u13fd\uab70-\uabbf]/.test(character)) return character.toUpperCase();
  if (character === "\u0131") return character;
  return character === "\u1e9e" ? "ss" : character.toUpperCase().toLowerCase();
}

/** Escape a line for display: characters that affect the text around them become `\x1b`, `\n`, `\u202e`. */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

/** Escape a body for display: line feeds and tabs stay, so that a copy of the text is the text. */
export function escapeLines(text: string): string {
  return text
    .replace(/\r\n/g, "\n")
    .replace(UNSAFE, (one) => (/[\n\t]/.test(one) ? one : escapeCharacter(one)));
}

function escapeCharacter(character: string): string {
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000
    ? `\\u${code.toString(16).padStart(4, "0")}`
    : `\\U${code.toString(16).padStart(8, "0")}`;
}

/** Replace lone surrogates by U+FFFD: no message can contain them. */
export function scalarValues(text: string): string {
  return text.replace(/\p{Cs}/gu, "\ufffd");
}

export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

const encoder = new TextEncoder();

/** Whether the text contains the name as a word, in any case. */
export function mentions(text: string, name: string): boolean {
  const key = nameKey(name);
  if (!key) return false;
  const haystack = nameKey(text);
  for (let at = haystack.indexOf(key); at >= 0; at = haystack.indexOf(key, at + 1)) {
    const before = [...haystack.slice(Math.max(0, at - 2), at)].pop() ?? "";
    const after = String.fromCodePoint(haystack.codePointAt(at + key.length) ?? 0x20);
    if (!WORD.test(before) && !WORD.test(after)) return true;
  }
  return false;
}

const WORD = /^[\p{L}\p{M}\p{N}_]$/u;

export function counted(number: number, noun: string): string {
  return number === 1 ? `${number} ${noun}` : `${number} ${noun}s`;
}

// Words of the page's own sentences. "Anna and Bela joined" must not be about one person named "Anna and Bela".
const SENTENCE = new RegExp(
  `^(you|your|not sent|the (topic|server|operator|search)|this room|there (is|are)|users (online|in)|` +
    String.raw`(encrypted )?direct message)\b|` +
    String.raw`\b(and|joined|left|others?|more|mentions you|sent an encrypted|(set|removed) the topic|missing here|completions)\b`,
  "i",
);

/** Return a name for a sentence in plain text: it cannot change the writing direction, or pass for another sentence. */
export function plainName(name: string): string {
  const isolated = /^[\u0000-\u024f]*$/.test(name) ? name : `\u2068${name}\u2069`;
  return SENTENCE.test(name) ? `the user “${isolated}”` : isolated;
}

/** Return a phrase as it looks on the page. */
export function phraseText(phrase: Phrase): string {
  return phrase.map(pieceText).join("");
}

/** Return a phrase for places that show plain text only. */
export function plainText(phrase: Phrase): string {
  return phrase
    .map((piece) => (typeof piece !== "string" && "name" in piece ? plainName(piece.name) : pieceText(piece)))
    .join("");
}

export function pieceText(piece: Phrase[number]): string {
  if (typeof piece === "string") return piece;
  return "name" in piece ? piece.name : piece.quote;
}
