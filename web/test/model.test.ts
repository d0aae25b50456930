// Random chats with random reconnects: in the end every page has every message, once and in order.

import assert from "node:assert/strict";
import { test } from "node:test";
import { generator } from "./generator.ts";
import { Server } from "./server.ts";
import { chatIn, Shared, World } from "./world.ts";

const SEEDS = Number(process.env.SELCHAT_SEEDS ?? 60);
const NAMES = ["Ann", "Bob", "Cleo"];
const ROOMS = ["lobby", "a", "b"];

async function run(seed: number, sealed: boolean): Promise<void> {
  const { random, integer, pick } = generator(seed);
  const server = new Server();
  server.window = pick([1, 3, 1024]);
  const pages = NAMES.map((name) => {
    const world = new World(server.accept, new Shared());
    world.randomValue = random;
    return { name, world, ...chatIn(world), typed: new Map<string, string[]>() };
  });
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1) for (const { world } of pages) await world.pass(1);
  };
  for (const { chat, name } of pages) chat.start({ name });
  await pass(20);
  for (const { chat } of pages) {
    if (sealed) await chat.setPassphrase("", "words");
    for (const room of ROOMS) {
      chat.submit(`/join ${room}`);
      await pass(5);
    }
  }
  let count = 0;
  const mayFail = integer(3) === 0;
  for (let step = 0; step < 60; step += 1) {
    const { chat, world, typed, name } = pick(pages);
    const action = integer(12);
    if (action < 7) {
      const room = pick(ROOMS);
      chat.open(`#${room}`);
      count += 1;
      assert.equal(chat.submit(`${name} ${count}`), "");
      typed.set(room, [...(typed.get(room) ?? []), `${name} ${count}`]);
    } else if (action < 9) world.cut();
    else if (action === 9) {
      world.isSilent = !world.isSilent;
    } else if (action === 10) server.isFailing = !server.isFailing && mayFail;
    else if (chat.link.state === "waiting") chat.reconnect();
    if (sealed)
      assert.ok(!server.received.some(({ body }) => typeof body === "string" && / \d+$/.test(body)));
    await pass(integer(4));
  }
  server.isFailing = false;
  for (const { world } of pages) world.isSilent = false;
  for (const { world } of pages) await world.pass(0);
  for (let step = 0; step < 40; step += 1) for (const { world } of pages) await world.pass(2000);
  for (const { chat, name, typed } of pages) {
    assert.equal(chat.link.state, "online", `${seed}: ${name}`);
    assert.equal(chat.name, name);
    for (const room of ROOMS) {
      const stored = server.room(room).said;
      const entries = chat.conversation(`#${room}`)?.entries.filter(({ kind }) => kind === "said") ?? [];
      assert.ok(
        entries.every(({ state, problem }) => state === "sent" && !problem),
        `${seed}: ${name} in ${room}`,
      );
      assert.deepEqual(
        entries.map(({ seq }) => seq),
        stored.map(({ seq }) => seq),
        `${seed}: ${name} in ${room}`,
      );
      const own = entries.filter(({ from }) => from === name).map(({ body }) => body);
      const wanted = typed.get(room) ?? [];
      // A message that arrives between two storage failures may overtake deferred ones.
      if (mayFail) assert.deepEqual(own.sort(), wanted.sort(), `${seed}: ${name} in ${room}`);
      else assert.deepEqual(own, wanted, `${seed}: ${name} in ${room}`);
      const all = entries.map(({ body }) => body);
      const [first] = pages;
      const theirs = first?.chat.conversation(`#${room}`)?.entries.filter(({ kind }) => kind === "said");
      assert.deepEqual(
        all,
        theirs?.map(({ body }) => body),
      );
      assert.deepEqual(chat.conversation(`#${room}`)?.people, NAMES, `${seed}: who ${name} sees in ${room}`);
      const keys = chat.conversation(`#${room}`)?.entries.map(({ key }) => key) ?? [];
      assert.equal(new Set(keys).size, keys.length);
    }
  }
}

test("random chats converge, unencrypted", async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) await run(seed, false);
});

test("random chats converge, encrypted", async () => {
  for (let seed = 1; seed <= SEEDS / 10; seed += 1) await run(1000 + seed, true);
});

test("a view that follows the changes has the same entries as the core", async () => {
  const { integer, pick } = generator(5);
  const server = new Server();
  for (let number = 0; number < 120; number += 1) server.say("lobby", "Zoe", `${number}`);
  const world = new World(server.accept);
  const { chat } = chatIn(world);
  const seen = new Map<string, string[]>();
  chat.subscribe((change) => {
    const entries = "id" in change ? (chat.conversation(change.id)?.entries ?? []) : [];
    if (change.type === "added") {
      const mine = seen.get(change.id) ?? [];
      mine.splice(change.at, 0, ...change.entries.map(({ key, state, body }) => key + state + body));
      seen.set(change.id, mine);
    } else if (change.type === "changed") {
      (seen.get(change.id) ?? [])[change.at] = change.entry.key + change.entry.state + change.entry.body;
    } else if (change.type === "reset") {
      seen.set(
        change.id,
        entries.map(({ key, state, body }) => key + state + body),
      );
    }
  });
  chat.start({ name: "Ann" });
  for (let step = 0; step < 300; step += 1) {
    const action = integer(10);
    if (action < 3) chat.submit(`line ${step}`);
    else if (action < 6) server.say("lobby", "Zoe", `more ${step}`);
    else if (action === 6) void chat.loadOlder("#lobby");
    else if (action === 7 && !integer(4)) world.cut();
    else if (action === 8) chat.submit(pick(["/msg nobody x", "/users", "/topic x"]));
    else server.isFailing = !server.isFailing;
    if (!integer(8)) {
      for (const { id, entries } of chat.conversations) {
        for (const { key, state } of entries) if (state === "failed") chat.retry(id, key);
      }
    }
    chat.open("#lobby");
    await world.pass(integer(300));
    for (const { id, entries } of chat.conversations) {
      assert.deepEqual(
        seen.get(id) ?? [],
        entries.map(({ key, state, body }) => key + state + body),
      );
    }
  }
});
