import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { passphraseBits, passphraseWarning } from "../src/core/strength.ts";

test("the examples of the documentation", () => {
  const text = readFileSync("../docs/encryption.rst", "utf8");
  const rows = [...text.matchAll(/^``(.+?)`` +(\d+) +(.+)$/gm)];
  assert.ok(rows.length >= 8);
  for (const [, passphrase = "", bits, time = ""] of rows) {
    assert.equal(passphraseBits(passphrase), Number(bits), passphrase);
    const warning = passphraseWarning(passphrase);
    if (time === "more than a year") assert.equal(warning, "", passphrase);
    else assert.ok(warning.includes(` in ${time}. `), `${passphrase}: ${warning}`);
  }
});

test("repetitions, sequences, capitals and spaces add nothing", () => {
  for (const [simple, ...others] of [
    ["tea", "TEA", "Tea ", "tea tea tea", "tea\ttea"],
    ["a", "aaaaaaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnopqrstuvwxyz", "zyx"],
    ["1", "111111111111", "123456789", "987654321"],
    ["cafe\u0301", "caf\u00e9"],
  ] as const)
    for (const other of others) assert.equal(passphraseBits(other), passphraseBits(simple), other);
});

test("more words are stronger, in every script", () => {
  for (const words of [
    ["correct", "horse", "battery", "staple"],
    ["корова", "солнце", "лестница", "самовар"],
    ["γάτα", "ήλιος", "σκάλα", "τυρί"],
    ["猫", "太陽光", "階段", "乳酪"],
  ]) {
    const bits = words.map((_, at) => passphraseBits(words.slice(0, at + 1).join(" ")));
    assert.ok(
      bits.every((more, at) => at === 0 || more > (bits[at - 1] ?? 0)),
      String(bits),
    );
    assert.notEqual(passphraseWarning(words[0] ?? ""), "");
  }
  assert.equal(passphraseWarning(""), "", "nothing is typed yet");
});
