import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import {
  caseFolded,
  cleanName,
  escapeControls,
  escapeLines,
  mentions,
  nameKey,
  scalarValues,
} from "../src/core/text.ts";
import { isPythonThere, PYTHON, skip } from "./python.ts";

test("control characters are escaped", () => {
  const cases: [string, string][] = [
    ["\x1b[2J", "\\x1b[2J"],
    ["a\nAccepted new connection", "a\\nAccepted new connection"],
    ["a\r\tb", "a\\r\\tb"],
    ["\x80\x9b", "\\x80\\x9b"],
    ["\u202egnp.exe", "\\u202egnp.exe"],
    ["\u2028", "\\u2028"],
    ["\udc80", "\\udc80"],
    ["back\\slash", "back\\slash"],
    ["\u{1f468}\u200d\u{1f469}", "\u{1f468}\u200d\u{1f469}"],
    ["\u00a0\u3000", "\u00a0\u3000"],
    ["\ue000", "\ue000"],
    ["\u{e0001}", "\\U000e0001"],
    ["\u{1f3f4}\u{e0067}\u{e007f}", "\u{1f3f4}\u{e0067}\u{e007f}"],
    ["soft\u00adhyphen", "soft\\xadhyphen"],
  ];
  for (const [text, shown] of cases) assert.equal(escapeControls(text), shown);
});

test("bodies keep their line breaks", () => {
  assert.equal(escapeLines("a\r\nb\n\tc\rd\u202e"), "a\nb\n\tc\\rd\\u202e");
});

test("name keys use compatibility and case folding", () => {
  assert.equal(nameKey("Stra\u00dfe"), "strasse");
  assert.equal(nameKey("\u03a3\u03a3"), nameKey("\u03c3\u03c2"));
  assert.equal(nameKey("\uff21nn"), "ann");
  assert.equal(nameKey("Zoe\u0308"), nameKey("ZO\u00cb"));
});

test("lone surrogates are replaced", () => {
  assert.equal(scalarValues("a\ud800b\udc00\ud83d\ude00"), "a\ufffdb\ufffd\ud83d\ude00");
});

test("a mention is the name as a word, in any case", () => {
  assert.ok(mentions("hi VENKAT!", "Venkat"));
  assert.ok(mentions("@venkat: see", "Venkat"));
  assert.ok(mentions("to a b, please", "A B"));
  assert.ok(!mentions("venkatesh", "Venkat"));
  assert.ok(!mentions("revenkat", "Venkat"));
  assert.ok(mentions("venkatesh and venkat", "Venkat"));
  assert.ok(!mentions("anything", ""));
});

// Cleaned names, keys and escaped text are the same as in Python, for each character that both know, and some
// sequences.
test("the rules are the same as in Python", { skip }, () => {
  assert.ok(isPythonThere);
  const program = `
import json, sys, unicodedata
from selchat.text import clean_name, escape_controls, name_key
ones = [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000 and unicodedata.category(chr(c)) != "Cn"]
texts = ["".join(ones[at + 7 * step] for step in range(5)) for at in range(0, len(ones) - 40, 11)] + ones[:0x3000]
json.dump([[t, clean_name(t), name_key(t), escape_controls(t), t.casefold()] for t in texts], sys.stdout)`;
  const ran = spawnSync(PYTHON, ["-c", program], { cwd: "..", maxBuffer: 2 ** 28 });
  const cases: [string, string, string, string, string][] = JSON.parse(ran.stdout.toString());
  assert.ok(cases.length > 20_000);
  for (const [text, clean, key, shown, folded] of cases) {
    assert.equal(cleanName(text), clean, JSON.stringify(text));
    assert.equal(nameKey(text), key, JSON.stringify(text));
    assert.equal(escapeControls(text), shown, JSON.stringify(text));
    assert.equal(caseFolded(text), folded, JSON.stringify(text));
  }
});
