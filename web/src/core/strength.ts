// Estimate of a passphrase's strength. docs/encryption.rst has the same rule and the same examples.

const WORD_BITS = 13; // a word of a large dictionary
const LETTER_BITS = 5;
const LONG_WORD = 8; // letters; more of them are a sign of several words, or of none
const EXTRA_LETTER_BITS = 2; // for each letter above that
const IDEOGRAPH_BITS = 7; // a character of a script without upper and lower case
const DIGIT_BITS = 3;
const OTHER_BITS = 5;
const GUESSES = 100_000; // a second, by a thousand computers: each guess takes 0.1 s and 32 MiB
const MAX_LENGTH = 1024; // characters to look at; normalizing thousands of marks takes seconds
const YEAR = 365 * 86_400; // seconds
export const ENOUGH = YEAR; // seconds for which it should hold

/** Return how many bits an attacker has to guess, about. Each word counts once. */
export function passphraseBits(passphrase: string): number {
  const runs =
    passphrase
      .slice(0, MAX_LENGTH)
      .normalize("NFC")
      .match(/[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N}\s]+/gu) ?? [];
  return [...new Set(runs.map((run) => run.toLowerCase()))].reduce((sum, run) => sum + runBits(run), 0);
}

function runBits(run: string): number {
  const counted = surprises(run);
  if (/\p{N}/u.test(run)) return DIGIT_BITS * counted;
  if (!/\p{L}/u.test(run)) return OTHER_BITS * counted;
  if (/\p{Lo}/u.test(run)) return IDEOGRAPH_BITS * counted;
  return Math.min(LETTER_BITS * counted, WORD_BITS + EXTRA_LETTER_BITS * Math.max(0, counted - LONG_WORD));
}

/** Count the characters that neither repeat nor continue the one before: "abc", "321" and "zzz" have one. */
function surprises(run: string): number {
  let counted = 0;
  let before = Number.NEGATIVE_INFINITY;
  for (const character of run) {
    const code = character.codePointAt(0) ?? 0;
    if (Math.abs(code - before) > 1) counted++;
    before = code;
  }
  return counted;
}

/** Return the seconds in which a thousand computers guess it, about: half of all guesses. */
export function secondsToGuess(passphrase: string): number {
  return 2 ** passphraseBits(passphrase) / 2 / GUESSES;
}

/** Return a warning about a weak passphrase; "": it is not weak. */
export function passphraseWarning(passphrase: string): string {
  const seconds = secondsToGuess(passphrase);
  if (!passphrase || seconds >= ENOUGH) return "";
  return `This passphrase is weak: a thousand computers would guess it in ${duration(seconds)}. Six random words are out of reach.`;
}

function duration(seconds: number): string {
  if (seconds < 1) return "less than a second";
  for (const [length, unit] of [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ] as const) {
    const number = Math.round(seconds / length);
    if (number >= 1 && seconds >= length) return `about ${number} ${unit}${number === 1 ? "" : "s"}`;
  }
  return "about a second";
}
