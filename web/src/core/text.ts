// Untrusted text: compare names, and escape text for display. The same rules as selchat/text.py.

// Default_Ignorable_Code_Point characters that are letters or marks by category, and the blank Braille
// pattern.
const INVISIBLE =
  /[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
// The characters that Python's \s matches, which differ from JavaScript's.
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;
const NOT_IN_NAMES = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu;

// Characters that affect the text around them: controls, lone surrogates, line separators and format
// characters. Not the joiners, which Persian and some Indian scripts need, nor the tags, which make flags.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d\u{e0020}-\u{e007f}])\p{Cf}/gu;

export const NAME_LENGTH = 32; // characters

/** Return a name as the server cleans it, perhaps empty. */
export function cleanName(name: string, length = NAME_LENGTH): string {
  const normalized = name
    .normalize("NFC")
    .replace(SPACES, " ")
    .replace(NOT_IN_NAMES, "")
    .replace(INVISIBLE, "");
  const start = normalized.normalize("NFC").replace(/^[ \p{M}]+/u, "");
  return [...start]
    .slice(0, length)
    .join("")
    .replace(SPACES, " ")
    .replace(/^ +| +$/g, "");
}

/**
 * Return the key of a name: two names are the same exactly if their keys are equal (Unicode's NFKC_Casefold).
 */
export function nameKey(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return name.toLowerCase();
  return caseFolded(name.normalize("NFKC")).normalize("NFKC");
}

/**
 * Full case folding, which JavaScript lacks: upper case, then lower case, one character at a time, so that no
 * rule for the end of a word applies. Cherokee folds to upper case, and two letters have no upper case that
 * folds to them.
 */
export function caseFolded(text: string): string {
  let folded = "";
  for (const character of text) {
    if (/[\u13a0-\u13fd\uab70-\uabbf]/.test(character)) folded += character.toUpperCase();
    else if (character === "\u0131") folded += character;
    else if (character === "\u1e9e") folded += "ss";
    else folded += character.toUpperCase().toLowerCase();
  }
  return folded;
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
