// A readable colour for each name. Pure. The name determines the hue only. style.css sets a lightness in
// OKLCH, where equal lightness looks equally bright for every hue, so one value for light mode and one for
// dark mode give every name a contrast of AA. The tests compute it.

/** Lightness and chroma of names in style.css, and the least favourable background of each mode. */
export const NAME_COLOURS = {
  light: { lightness: 0.46, chroma: 0.13, background: "#f1f3f6" },
  dark: { lightness: 0.8, chroma: 0.11, background: "#2e2811" },
} as const;

const STEPS = 24; // people cannot distinguish more hues

const SEGMENTER = "Segmenter" in Intl ? new Intl.Segmenter() : undefined; // takes 0.1 ms to make

/** Return the hue of a name, in degrees. */
export function hueOf(name: string): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of name.toLowerCase()) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  hash ^= hash >>> 15; // the low bits are badly distributed for short names
  return (((hash >>> 0) % STEPS) * 360) / STEPS;
}

/** Return the first character of a name, for its avatar. */
export function initialOf(name: string): string {
  const first = SEGMENTER ? SEGMENTER.segment(name)[Symbol.iterator]().next().value?.segment : [...name][0];
  return (first ?? "?").toLocaleUpperCase();
}
