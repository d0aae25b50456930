// A colour for a name: always the same one, and readable. Pure.
// Only the hue is the name's. style.css gives it a lightness in OKLCH, where equal lightness is equally bright for the
// eye whatever the hue is, so that one figure for light and one for dark keeps every name at AA; the tests compute it.

/** The lightness and chroma that style.css uses for names, on the lightest and darkest thing they stand on. */
export const NAME_COLOURS = {
  light: { lightness: 0.46, chroma: 0.13, background: "#f1f3f6" },
  dark: { lightness: 0.8, chroma: 0.11, background: "#2e2811" },
} as const;

const STEPS = 24; // more than that nobody tells apart

const SEGMENTER = "Segmenter" in Intl ? new Intl.Segmenter() : undefined; // costs a tenth of a millisecond to make

/** Degrees. */
export function hueOf(name: string): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of name.toLowerCase()) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  hash ^= hash >>> 15; // its low bits are not spread well for short names
  return (((hash >>> 0) % STEPS) * 360) / STEPS;
}

/** What stands in a name's disc: its first character, whole. */
export function initialOf(name: string): string {
  const first = SEGMENTER ? SEGMENTER.segment(name)[Symbol.iterator]().next().value?.segment : [...name][0];
  return (first ?? "?").toLocaleUpperCase();
}
