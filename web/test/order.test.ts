import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/core/events.ts";
import { type Delivery, ReorderBuffer } from "../src/core/order.ts";

function message(seq: number): Message {
  return {
    room: "a",
    to: "",
    from: "b",
    seq,
    at: 0,
    id: "",
    body: `${seq}`,
    cipher: "",
    isOwn: false,
    isMissed: false,
  };
}

function given(all: Delivery[]): (number | string)[] {
  return all.map((one) => ("message" in one ? one.message.seq : `${one.after}..${one.before}`));
}

test("an own message waits for its neighbours, and they for it", () => {
  const order = new ReorderBuffer(5);
  order.add(message(7), true);
  assert.deepEqual(given(order.release(false)), []);
  order.add(message(6), false);
  order.add(message(7), false);
  assert.deepEqual(given(order.release(false)), [6, 7]);
  order.add(message(9), false);
  assert.deepEqual(given(order.release(true)), []); // an ack for 8 may come
  order.add(message(8), true);
  assert.deepEqual(given(order.release(false)), [8, 9]);
  order.add(message(8), false);
  assert.deepEqual(given(order.release(false)), []);
});

test("what nothing can bring any more is a gap", () => {
  const order = new ReorderBuffer(0);
  order.add(message(3), false);
  assert.deepEqual(given(order.release(false)), ["0..3", 3]);
});

test("an announced gap, with an own message in it", () => {
  const order = new ReorderBuffer(2);
  order.add(message(5), true);
  order.addGap(2, 9);
  order.add(message(9), false);
  assert.deepEqual(given(order.release(false)), ["2..5", 5, "5..9", 9]);
  order.addGap(9, 10); // nothing is missing
  assert.deepEqual(given(order.release(false)), []);
});

test("numbers begin anew", () => {
  const order = new ReorderBuffer(10);
  order.add(message(12), true);
  assert.deepEqual(given(order.restart(0)), ["10..12", 12]);
  order.add(message(1), false);
  assert.deepEqual(given(order.release(false)), [1]);
});
