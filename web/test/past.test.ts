import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, day, machine, whole } from "../src/view/dates.ts";
import { Past } from "../src/view/past.ts";
import { sentence } from "../src/view/sentence.ts";

test("Up goes back through the lines, Down forth to the empty field", () => {
  const past = new Past();
  assert.equal(past.before(), undefined);
  past.add("a");
  past.add("b");
  past.add("b");
  assert.equal(past.before(), "b");
  assert.ok(past.going("b"));
  assert.ok(!past.going("b changed"));
  assert.equal(past.before(), "a");
  assert.equal(past.before(), undefined);
  assert.equal(past.after(), "b");
  assert.equal(past.after(), "");
  assert.equal(past.after(), undefined);
});

test("it keeps the last fifty", () => {
  const past = new Past();
  for (let i = 0; i < 80; i++) past.add(String(i));
  let last = "";
  for (let line = past.before(); line !== undefined; line = past.before()) last = line;
  assert.equal(last, "30");
});

test("days are named as people name them", () => {
  const now = new Date(2024, 0, 1, 0, 30);
  const at = (...parts: [number, number, number, number?]): number => new Date(...parts).getTime() / 1000;
  assert.equal(day(at(2024, 0, 1), now), "Today");
  assert.equal(day(at(2023, 11, 31, 23), now), "Yesterday");
  assert.match(day(at(2023, 11, 30), now), /^Saturday,? 30 December 2023$/);
  assert.match(day(at(2024, 0, 9), now), /^Tuesday,? 9 January$/);
});

test("an impossible time stops nothing", () => {
  for (const at of [Number.NaN, 1e300, -1e300, Number.POSITIVE_INFINITY]) {
    assert.equal(clock(at), "??:??");
    assert.equal(clock(at, true), "??:??");
    assert.equal(whole(at), "??:??");
    assert.equal(machine(at), "");
    assert.equal(day(at, new Date()), "??:??");
  }
});

test("reasons are sentences, whoever wrote them", () => {
  assert.equal(sentence("you were kicked", "x"), "You were kicked.");
  assert.equal(sentence("Really?", "x"), "Really?");
  assert.equal(sentence("  ", "The connection has ended"), "The connection has ended.");
});
