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

function summary(all: Delivery[]): (number | string)[] {
  return all.map((one) => ("message" in one ? one.message.seq : `${one.after}..${one.before}`));
}

test("an own message waits for its neighbours, and they wait for it", () => {
  const order = new ReorderBuffer(5);
  order.add(message(7), true);
  assert.deepEqual(summary(order.release(false)), []);
  order.add(message(6), false);
  order.add(message(7), false);
  assert.deepEqual(summary(order.release(false)), [6, 7]);
  order.add(message(9), false);
  assert.deepEqual(summary(order.release(true)), []); // an ack for 8 may arrive
  order.add(message(8), true);
  assert.deepEqual(summary(order.release(false)), [8, 9]);
  order.add(message(8), false);
  assert.deepEqual(summary(order.release(false)), []);
});

test("messages that can no longer arrive are a gap", () => {
  const order = new ReorderBuffer(0);
  order.add(message(3), false);
  assert.deepEqual(summary(order.release(false)), ["0..3", 3]);
});

test("an announced gap may contain an own message", () => {
  const order = new ReorderBuffer(2);
  order.add(message(5), true);
  order.addGap(2, 9);
  order.add(message(9), false);
  assert.deepEqual(summary(order.release(false)), ["2..5", 5, "5..9", 9]);
  order.addGap(9, 10); // an empty gap
  assert.deepEqual(summary(order.release(false)), []);
});

test("restart() returns the waiting messages and resets the numbers", () => {
  const order = new ReorderBuffer(10);
  order.add(message(12), true);
  assert.deepEqual(summary(order.restart(0)), ["10..12", 12]);
  order.add(message(1), false);
  assert.deepEqual(summary(order.release(false)), [1]);
});
