// A page that stays open for weeks: what it keeps has an end, and what it has dropped can be had again.

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

/** Bob says so many things; `each`: after every thousand. */
async function talks(server: Server, world: World, times: number, each = () => {}): Promise<void> {
  for (let left = times; left > 0; left -= 1000) {
    for (let more = Math.min(left, 1000); more > 0; more -= 1)
      server.say("lobby", "Bob", `${server.room("lobby").seq + 1}`);
    await world.pass(2);
    each();
  }
}

async function older(chat: Core, world: World): Promise<void> {
  const fetched = chat.loadOlder("#lobby");
  await world.pass(10);
  await fetched;
}

/** The numbers are in order, without a hole, and end with that one; returns the first. */
function inOrder({ entries }: Conversation, last: number): number {
  const first = last - entries.length + 1;
  entries.forEach(({ seq, body }, at) => {
    if (seq !== first + at || body !== `${seq}`)
      assert.fail(`${seq} (${body}) in the place of ${first + at}`);
  });
  assert.equal(new Set(entries.map(({ key }) => key)).size, entries.length, "keys");
  return first;
}

test("of 50,000 messages the newest are kept, and the others come again when they are asked for", async () => {
  const server = new Server();
  const { world, chat, changes, lobby } = await page(server);
  await talks(server, world, 50_000, () => assert.ok(lobby.entries.length <= MOST + STEP));
  const first = inOrder(lobby, 50_000);
  assert.ok(lobby.entries.length >= MOST);
  assert.equal(lobby.more, true);
  const resets = changes.filter(({ type: what }) => what === "reset").length;
  assert.ok(resets >= 10 && resets <= 50_000 / STEP, `in steps, and not one by one: ${resets}`);
  await older(chat, world);
  assert.equal(inOrder(lobby, 50_000), first - 50);
  // Further up nothing vanishes, whatever comes.
  chat.setWatching(false);
  for (let pages = 0; pages < 100; pages += 1) await older(chat, world);
  await talks(server, world, 5_000);
  assert.equal(inOrder(lobby, 55_000), first - 50 - 100 * 50);
  // Unless one does not come back.
  await talks(server, world, 50_000, () => assert.ok(lobby.entries.length <= 2 * MOST + 101 * 50));
  inOrder(lobby, 105_000);
  chat.setWatching(true);
  await talks(server, world, 1);
  assert.ok(lobby.entries.length <= MOST + STEP);
  await older(chat, world);
  inOrder(lobby, 105_001);
});

test("nothing is dropped while older ones are on their way, which would leave a hole", async () => {
  const server = new Server();
  for (let seq = 1; seq <= 100; seq += 1) server.say("lobby", "Bob", `${seq}`);
  const { world, chat, lobby } = await page(server);
  await talks(server, world, MOST + STEP - 60);
  assert.equal(lobby.entries.length, MOST + STEP - 10);
  const fetched = chat.loadOlder("#lobby");
  for (let number = 0; number < 20; number += 1)
    server.say("lobby", "Bob", `${server.room("lobby").seq + 1}`);
  await world.pass(10);
  await fetched;
  inOrder(lobby, 100 + MOST + STEP - 60 + 20);
  await talks(server, world, 1);
  assert.equal(lobby.entries.length, MOST);
  await older(chat, world);
  inOrder(lobby, 100 + MOST + STEP - 60 + 21);
});

test("what was said before the server began a new history is not looked for in that", async () => {
  const server = new Server();
  const { world, chat, lobby } = await page(server);
  await talks(server, world, 15_000);
  world.cut();
  server.renew();
  await world.pass(1000);
  assert.equal(lobby.entries.at(-1)?.kind, "notice");
  await talks(server, world, 8_000);
  assert.ok(lobby.entries.length <= MOST + STEP);
  assert.equal(lobby.entries[0]?.body.length, 4, "the oldest are gone");
  assert.equal(lobby.more, false);
  await talks(server, world, 20_000);
  assert.equal(lobby.more, true);
  const first = inOrder(lobby, 28_000);
  await older(chat, world);
  assert.equal(inOrder(lobby, 28_000), first - 50);
});

test("whispers, which have no history, go; what is known beside what is gone goes too", () => {
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

test("people who come and go, and nobody speaks, make no endless line", () => {
  const talk = new ConversationState("#lobby", "room", "lobby", () => {});
  for (let guest = 0; guest < 1000; guest += 1) talk.joinedOrLeft("joined", [`guest ${guest}`], 1);
  assert.equal(talk.entries.length, 10);
  assert.ok(talk.entries.every(({ names }) => names.length === 100));
});
