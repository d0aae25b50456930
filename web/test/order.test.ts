import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/core/events.ts";
import { type Given, InOrder } from "../src/core/order.ts";

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
    own: false,
    missed: false,
  };
}

function given(all: Given[]): (number | string)[] {
  return all.map((one) => ("message" in one ? one.message.seq : `${one.after}..${one.before}`));
}

test("an own message waits for its neighbours, and they for it", () => {
  const order = new InOrder(5);
  order.take(message(7), true);
  assert.deepEqual(given(order.release(false)), []);
  order.take(message(6), false);
  order.take(message(7), false);
  assert.deepEqual(given(order.release(false)), [6, 7]);
  order.take(message(9), false);
  assert.deepEqual(given(order.release(true)), []); // an ack for 8 may come
  order.take(message(8), true);
  assert.deepEqual(given(order.release(false)), [8, 9]);
  order.take(message(8), false);
  assert.deepEqual(given(order.release(false)), []);
});

test("what nothing can bring any more is a gap", () => {
  const order = new InOrder(0);
  order.take(message(3), false);
  assert.deepEqual(given(order.release(false)), ["0..3", 3]);
});

test("an announced gap, with an own message in it", () => {
  const order = new InOrder(2);
  order.take(message(5), true);
  order.takeGap(2, 9);
  order.take(message(9), false);
  assert.deepEqual(given(order.release(false)), ["2..5", 5, "5..9", 9]);
  order.takeGap(9, 10); // nothing is missing
  assert.deepEqual(given(order.release(false)), []);
});

test("numbers begin anew", () => {
  const order = new InOrder(10);
  order.take(message(12), true);
  assert.deepEqual(given(order.restart(0)), ["10..12", 12]);
  order.take(message(1), false);
  assert.deepEqual(given(order.release(false)), [1]);
});
