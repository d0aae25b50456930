import assert from "node:assert/strict";
import { test } from "node:test";
import { Tops } from "../src/view/tops.ts";

test("rows are found by their height, as by counting", () => {
  const heights = Array.from({ length: 500 }, (_, i) => ((i * 7919) % 90) + 0.25);
  const tops = new Tops(heights);
  let top = 0;
  for (const [row, height] of heights.entries()) {
    assert.equal(tops.top(row), top);
    for (const y of [top, top + height / 2, top + height - 0.01]) assert.equal(tops.at(y), row);
    top += height;
  }
  assert.equal(tops.total, top);
  assert.equal(tops.at(-5), 0);
  assert.equal(tops.at(top + 1000), 499);
});

test("what is between two heights is everything that has a part there", () => {
  const tops = new Tops([10, 20, 30, 40]);
  assert.deepEqual(tops.between(0, 5), [0, 1]);
  assert.deepEqual(tops.between(5, 35), [0, 3]);
  assert.deepEqual(tops.between(30, 59), [2, 3]);
  assert.deepEqual(tops.between(-100, 1000), [0, 4]);
});

test("few rows stand at the foot", () => {
  const tops = new Tops([10, 20], 100);
  assert.equal(tops.top(0), 70);
  assert.equal(tops.total, 100);
  assert.equal(tops.at(85), 1);
  assert.deepEqual(tops.between(0, 100), [0, 2]);
  assert.equal(new Tops([60, 70], 100).top(0), 0);
});

test("no rows are no trouble", () => {
  const tops = new Tops([], 30);
  assert.equal(tops.total, 30);
  assert.deepEqual(tops.between(0, 100), [0, 0]);
  assert.equal(tops.at(10), 0);
});
