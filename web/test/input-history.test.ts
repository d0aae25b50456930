import assert from "node:assert/strict";
import { test } from "node:test";
import { clockTime, dayName, fullTime, hoursOfClock, isoTime, tabularTime } from "../src/core/dates.ts";
import { InputHistory } from "../src/view/input-history.ts";
import { asSentence } from "../src/view/sentence.ts";

test("Up recalls earlier lines, Down later ones up to the empty field", () => {
  const past = new InputHistory();
  assert.equal(past.previous(), undefined);
  past.add("a");
  past.add("b");
  past.add("b");
  assert.equal(past.previous(), "b");
  assert.ok(past.canRecall("b"));
  assert.ok(!past.canRecall("b changed"));
  assert.equal(past.previous(), "a");
  assert.equal(past.previous(), undefined);
  assert.equal(past.next(), "b");
  assert.equal(past.next(), "");
  assert.equal(past.next(), undefined);
});

test("the history keeps the last fifty lines", () => {
  const past = new InputHistory();
  for (let i = 0; i < 80; i++) past.add(String(i));
  let last = "";
  for (let line = past.previous(); line !== undefined; line = past.previous()) last = line;
  assert.equal(last, "30");
});

test("days have their usual names", () => {
  const now = new Date(2024, 0, 1, 0, 30);
  const at = (...parts: [number, number, number, number?]): number => new Date(...parts).getTime() / 1000;
  assert.equal(dayName(at(2024, 0, 1), now), "Today");
  assert.equal(dayName(at(2023, 11, 31, 23), now), "Yesterday");
  assert.match(dayName(at(2023, 11, 30), now), /^Saturday,? 30 December 2023$/);
  assert.match(dayName(at(2024, 0, 9), now), /^Tuesday,? 9 January$/);
});

test("an impossible time is formatted", () => {
  for (const at of [Number.NaN, 1e300, -1e300, Number.POSITIVE_INFINITY]) {
    assert.equal(clockTime(at), "??:??");
    assert.equal(fullTime(at), "??:??");
    assert.equal(isoTime(at), "");
    assert.equal(dayName(at, new Date()), "??:??");
  }
});

test("the locale decides between 12 and 24 hours, and all times of the page follow it", () => {
  for (const [locale, hours] of [
    ["en-US", 12],
    ["en-GB", 24],
    ["de", 24],
    ["ar-EG", 12],
    ["hi", 12],
    ["ja", 24],
    ["en-US-u-hc-h23", 24],
  ] as const)
    assert.equal(hoursOfClock(locale), hours, locale);
  const at = new Date(2024, 0, 1, 20, 49, 7).getTime() / 1000;
  const evening = hoursOfClock(undefined) === 12 ? /08:49(:07)?\sPM/ : /20:49(:07)?/;
  for (const text of [clockTime(at), fullTime(at), tabularTime(at)]) assert.match(text, evening);
});

test("every reason becomes a sentence", () => {
  assert.equal(asSentence("you were kicked", "x"), "You were kicked.");
  assert.equal(asSentence("Really?", "x"), "Really?");
  assert.equal(asSentence("  ", "The connection has ended"), "The connection has ended.");
});
