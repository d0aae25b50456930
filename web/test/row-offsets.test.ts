import assert from "node:assert/strict";
import { test } from "node:test";
import { RowOffsets } from "../src/view/row-offsets.ts";

test("rowAt() finds the same row as counting", () => {
  const heights = Array.from({ length: 500 }, (_, i) => ((i * 7919) % 90) + 0.25);
  const tops = new RowOffsets(heights);
  let top = 0;
  for (const [row, height] of heights.entries()) {
    assert.equal(tops.top(row), top);
    for (const y of [top, top + height / 2, top + height - 0.01]) assert.equal(tops.rowAt(y), row);
    top += height;
  }
  assert.equal(tops.total, top);
  assert.equal(tops.rowAt(-5), 0);
  assert.equal(tops.rowAt(top + 1000), 499);
});

test("rowsBetween() returns every row with a part between the heights", () => {
  const tops = new RowOffsets([10, 20, 30, 40]);
  assert.deepEqual(tops.rowsBetween(0, 5), [0, 1]);
  assert.deepEqual(tops.rowsBetween(5, 35), [0, 3]);
  assert.deepEqual(tops.rowsBetween(30, 59), [2, 3]);
  assert.deepEqual(tops.rowsBetween(-100, 1000), [0, 4]);
});

test("a few rows stand at the bottom", () => {
  const tops = new RowOffsets([10, 20], 100);
  assert.equal(tops.top(0), 70);
  assert.equal(tops.total, 100);
  assert.equal(tops.rowAt(85), 1);
  assert.deepEqual(tops.rowsBetween(0, 100), [0, 2]);
  assert.equal(new RowOffsets([60, 70], 100).top(0), 0);
});

test("an empty list works", () => {
  const tops = new RowOffsets([], 30);
  assert.equal(tops.total, 30);
  assert.deepEqual(tops.rowsBetween(0, 100), [0, 0]);
  assert.equal(tops.rowAt(10), 0);
});
