import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { initialOf, NAME_COLOURS, Palette } from "../src/view/colour.ts";
import { generator } from "./generator.ts";

type Colour = readonly [number, number, number]; // linear light, 0 to 1

/**
 * https://www.w3.org/TR/css-color-4/#color-conversion-code; colours outside sRGB are clipped, as in browsers.
 */
function oklch(lightness: number, chroma: number, hue: number): Colour {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const cut = (value: number): number => Math.min(1, Math.max(0, value));
  return [
    cut(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    cut(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    cut(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function hex(text: string): Colour {
  const part = (at: number): number => {
    const value = Number.parseInt(text.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [part(1), part(3), part(5)];
}

/** https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio */
function contrast(one: Colour, other: Colour): number {
  const light = ([r, g, b]: Colour): number => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const [high, low] = [light(one), light(other)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const style = readFileSync("src/style.css", "utf8");
const [light, dark] = style.split("@media (prefers-color-scheme: dark)") as [string, string];
const value = (css: string, name: string): string => new RegExp(`--${name}: ([^;]+);`).exec(css)?.[1] ?? "";

test("every name has enough contrast on every background, in both schemes", () => {
  for (const [ink, css] of [
    [NAME_COLOURS.light, light],
    [NAME_COLOURS.dark, dark],
  ] as const) {
    assert.equal(Number(value(css, "ink-lightness")), ink.lightness, "style.css has the same figures");
    assert.equal(Number(value(css, "ink-chroma")), ink.chroma);
    for (const ground of ["bg", "hover", "mention"])
      for (let hue = 0; hue < 360; hue++) {
        const found = contrast(oklch(ink.lightness, ink.chroma, hue), hex(value(css, ground)));
        assert.ok(found >= 4.5, `${ground} ${hue}: ${found}`);
      }
    for (let hue = 0; hue < 360; hue++) {
      const found = contrast(oklch(Number(value(css, "disc-lightness")), 0.1, hue), [1, 1, 1]);
      assert.ok(found >= 4.5, `disc ${hue}: ${found}`);
    }
  }
});

test("every text colour has AA contrast on its background, in both schemes", () => {
  for (const css of [light, dark])
    for (const [ink, ...grounds] of [
      ["text", "bg", "side", "hover", "here", "code", "mention"],
      ["dim", "bg", "side", "hover", "code", "here"],
      ["accent", "bg", "mention"],
      ["on-accent", "accent"],
      ["bad", "bg", "mention"],
      ["on-notice", "notice"],
    ] as const)
      for (const ground of grounds) {
        const found = contrast(hex(value(css, ink)), hex(value(css, ground)));
        assert.ok(found >= 4.5, `${ink} on ${ground}: ${found}`);
      }
});

test("a name keeps its colour, in any case, whoever joins later", () => {
  const palette = new Palette();
  const hue = palette.hueOf("Venkat");
  for (let i = 0; i < 5000; i++) {
    palette.hueOf(`g${i}`);
    if (i % 500 === 0) assert.equal(palette.hueOf("Venkat"), hue);
  }
  assert.equal(palette.hueOf("venkat"), hue);
  assert.equal(new Palette().hueOf("VENKAT"), hue, "it has the same colour in another page");
});

test("24 people of one room have 24 colours, and a few have colours far apart", () => {
  const { integer } = generator(5);
  for (let round = 0; round < 300; round++) {
    const palette = new Palette();
    const hues = Array.from({ length: 24 }, () => palette.hueOf(`name ${integer(1e9)}`));
    assert.ok(hues.every((hue) => hue >= 0 && hue < 360));
    assert.equal(new Set(hues).size, 24);
    const few = hues.slice(0, 6);
    for (const one of few)
      for (const other of few.filter((hue) => hue !== one)) {
        const apart = Math.abs(one - other);
        assert.ok(Math.min(apart, 360 - apart) >= 30, `${few}`);
      }
  }
});

test("thousands of names share all colours evenly", () => {
  const palette = new Palette();
  const uses = new Map<number, number>();
  for (let i = 0; i < 5000; i++) {
    const hue = palette.hueOf(`guest${i}`);
    if (i >= 4000) uses.set(hue, (uses.get(hue) ?? 0) + 1);
  }
  assert.equal(uses.size, 24);
  assert.ok(Math.max(...uses.values()) < 70, String([...uses.values()]));
});

test("an avatar shows a whole character", () => {
  assert.equal(initialOf("venkat"), "V");
  assert.equal(initialOf("👩‍🔬 lab"), "👩‍🔬");
  assert.equal(initialOf("e\u0301"), "E\u0301");
  assert.equal(initialOf(""), "?");
});
