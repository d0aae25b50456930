// A page that stays open for weeks: its memory is bounded, and it can load removed entries again.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Change, Conversation } from "../src/core/api.ts";
import type { Core } from "../src/core/chat.ts";
import { ConversationState, newEntry } from "../src/core/conversation.ts";
import { Server } from "./server.ts";
import { chatIn, World } from "./world.ts";

const MOST = 20_000;
const STEP = 2_000;

async function page(server: Server) {
  const world = new World(server.accept);
  const made = chatIn(world);
  made.chat.start({ name: "Ann" });
  await world.pass(20);
  const lobby = made.chat.conversation("#lobby") as Conversation;
  return { world, ...made, lobby };
}

/** Bob sends that many messages; `each` is called after every thousand. */
async function sendMany(server: Server, world: World, times: number, each = () => {}): Promise<void> {
  for (let left = times; left > 0; left -= 1000) {
    for (let more = Math.min(left, 1000); more > 0; more -= 1)
      server.say("lobby", "Bob", `${server.room("lobby").seq + 1}`);
    await world.pass(2);
    each();
  }
}

async function loadOlder(chat: Core, world: World): Promise<void> {
  const fetched = chat.loadOlder("#lobby");
  await world.pass(10);
  await fetched;
}

/** Assert that the numbers ascend without a hole up to `last`; return the first. */
function assertConsecutive({ entries }: Conversation, last: number): number {
  const first = last - entries.length + 1;
  entries.forEach(({ seq, body }, at) => {
    if (seq !== first + at || body !== `${seq}`)
      assert.fail(`${seq} (${body}) in the place of ${first + at}`);
  });
  assert.equal(new Set(entries.map(({ key }) => key)).size, entries.length, "keys");
  return first;
}

test("of 50,000 messages the page keeps the newest, and loads the others again on request", async () => {
  const server = new Server();
  const { world, chat, changes, lobby } = await page(server);
  await sendMany(server, world, 50_000, () => assert.ok(lobby.entries.length <= MOST + STEP));
  const first = assertConsecutive(lobby, 50_000);
  assert.ok(lobby.entries.length >= MOST);
  assert.equal(lobby.more, true);
  const resets = changes.filter(({ type: what }) => what === "reset").length;
  assert.ok(resets >= 10 && resets <= 50_000 / STEP, `in steps, and not one by one: ${resets}`);
  await loadOlder(chat, world);
  assert.equal(assertConsecutive(lobby, 50_000), first - 50);
  // While the user reads further up, nothing vanishes.
  chat.setWatching(false);
  for (let pages = 0; pages < 100; pages += 1) await loadOlder(chat, world);
  await sendMany(server, world, 5_000);
  assert.equal(assertConsecutive(lobby, 55_000), first - 50 - 100 * 50);
  // Except if the user never comes back.
  await sendMany(server, world, 50_000, () => assert.ok(lobby.entries.length <= 2 * MOST + 101 * 50));
  assertConsecutive(lobby, 105_000);
  chat.setWatching(true);
  await sendMany(server, world, 1);
  assert.ok(lobby.entries.length <= MOST + STEP);
  await loadOlder(chat, world);
  assertConsecutive(lobby, 105_001);
});

test("no entry is removed while history is loading, so that no hole appears", async () => {
  const server = new Server();
  for (let seq = 1; seq <= 100; seq += 1) server.say("lobby", "Bob", `${seq}`);
  const { world, chat, lobby } = await page(server);
  await sendMany(server, world, MOST + STEP - 60);
  assert.equal(lobby.entries.length, MOST + STEP - 10);
  const fetched = chat.loadOlder("#lobby");
  for (let number = 0; number < 20; number += 1)
    server.say("lobby", "Bob", `${server.room("lobby").seq + 1}`);
  await world.pass(10);
  await fetched;
  assertConsecutive(lobby, 100 + MOST + STEP - 60 + 20);
  await sendMany(server, world, 1);
  assert.equal(lobby.entries.length, MOST);
  await loadOlder(chat, world);
  assertConsecutive(lobby, 100 + MOST + STEP - 60 + 21);
});

test("messages from before a new history are not requested from it", async () => {
  const server = new Server();
  const { world, chat, lobby } = await page(server);
  await sendMany(server, world, 15_000);
  world.cut();
  server.loseData();
  await world.pass(1000);
  assert.equal(lobby.entries.at(-1)?.kind, "notice");
  await sendMany(server, world, 8_000);
  assert.ok(lobby.entries.length <= MOST + STEP);
  assert.equal(lobby.entries[0]?.body.length, 4, "the oldest are gone");
  assert.equal(lobby.more, false);
  await sendMany(server, world, 20_000);
  assert.equal(lobby.more, true);
  const first = assertConsecutive(lobby, 28_000);
  await loadOlder(chat, world);
  assert.equal(assertConsecutive(lobby, 28_000), first - 50);
});

test("old direct messages are removed with everything that belongs to them", () => {
  const changes: Change[] = [];
  const talk = new ConversationState("@bob", "person", "Bob", (change) => changes.push(change));
  const sealed = { room: "", to: "Ann", from: "Bob", at: 1, id: "", cipher: "selchat1 x", isOwn: false };
  for (let seq = 1; seq <= MOST + STEP + 1; seq += 1) {
    const message = { ...sealed, seq, body: "", isMissed: false };
    const entry = talk.makeEntry(message, "Ann", talk.keyOf(message), false, false, false);
    talk.add(entry);
    talk.countUnread(entry, message);
  }
  talk.addPending(newEntry(talk.newKey(), "said", { body: "mine", state: "pending" }));
  assert.equal(talk.undecrypted.size, MOST + STEP + 1);
  const gone = talk.trim(true);
  assert.equal(gone.length, STEP + 2);
  assert.equal(talk.entries.length, MOST);
  assert.equal(talk.undecrypted.size, MOST - 1);
  assert.equal(talk.unreadWhispers.size, MOST - 1);
  assert.equal(talk.more, false);
  assert.equal(talk.entries.at(-1)?.body, "mine");
  talk.markRead(true);
  assert.equal(talk.firstUnread, talk.entries[0]?.key, "where it is first known what is new");
  assert.deepEqual(talk.trim(true), []);
  assert.deepEqual(changes.filter(({ type: what }) => what === "reset").length, 1);
});

test("joins and leaves without messages make no endless row", () => {
  const talk = new ConversationState("#lobby", "room", "lobby", () => {});
  for (let guest = 0; guest < 1000; guest += 1) talk.joinedOrLeft("joined", [`guest ${guest}`], 1);
  assert.equal(talk.entries.length, 10);
  assert.ok(talk.entries.every(({ names }) => names.length === 100));
});
