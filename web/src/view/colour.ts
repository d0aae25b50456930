// A readable colour for each name. The name determines the hue only. style.css sets a lightness in
// OKLCH, where equal lightness looks equally bright for every hue, so one value for light mode and one for
// dark mode give every name a contrast of AA. The tests compute it.

/** Lightness and chroma of names in style.css, and the least favourable background of each mode. */
export const NAME_COLOURS = {
  light: { lightness: 0.46, chroma: 0.13, background: "#f1f3f6" },
  dark: { lightness: 0.8, chroma: 0.11, background: "#2e2811" },
} as const;

const STEPS = 24; // people cannot distinguish more hues
const STRIDE = 7; // steps between two hues to try; it has no divisor in common with STEPS

const SEGMENTER = "Segmenter" in Intl ? new Intl.Segmenter() : undefined; // takes 0.1 ms to make

const MAX_NAMES = 1000; // names to remember

/** The hues of names. A name keeps its hue while it is one of the newest on the page. */
export class Palette {
  readonly #steps = new Map<string, number>(); // by name in lower case, in order of their last use
  readonly #uses = new Array<number>(STEPS).fill(0);

  /**
   * Return the hue of a name, in degrees: the one of its hash, unless an earlier name has it or one next to it, and
   * others are free.
   */
  hueOf(name: string): number {
    const key = name.toLowerCase();
    let step = this.#steps.get(key);
    if (step === undefined) {
      step = this.#freeStep(hash(key) % STEPS);
      this.#count(step, 1);
    } else this.#steps.delete(key); // it becomes the newest
    this.#steps.set(key, step);
    this.#forgetOldest();
    return (step * 360) / STEPS;
  }

  /** Return the least used step, and of several the first from `wanted`. */
  #freeStep(wanted: number): number {
    let best = wanted;
    for (let place = 1; place < STEPS; place++) {
      const step = (wanted + place * STRIDE) % STEPS;
      if (this.#crowd(step) < this.#crowd(best)) best = step;
    }
    return best;
  }

  /** Return how many names have this hue, and (counting less) similar ones. */
  #crowd(step: number): number {
    const uses = (at: number): number => this.#uses[(at + STEPS) % STEPS] ?? 0;
    return 8 * uses(step) + 2 * (uses(step - 1) + uses(step + 1)) + uses(step - 2) + uses(step + 2);
  }

  #count(step: number, by: number): void {
    this.#uses[step] = (this.#uses[step] ?? 0) + by;
  }

  #forgetOldest(): void {
    const [oldest] = this.#steps;
    if (!oldest || this.#steps.size <= MAX_NAMES) return;
    this.#steps.delete(oldest[0]);
    this.#count(oldest[1], -1);
  }
}

function hash(text: string): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0; // the low bits are badly distributed for short names
}

/** Return the first character of a name, for its avatar. */
export function initialOf(name: string): string {
  const first = SEGMENTER ? SEGMENTER.segment(name)[Symbol.iterator]().next().value?.segment : [...name][0];
  return (first ?? "?").toLocaleUpperCase();
}
