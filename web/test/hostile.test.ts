// Invalid and malicious messages of a server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { generator } from "./generator.ts";
import { Server } from "./server.ts";
import { chatIn, lines, World } from "./world.ts";

async function page() {
  const server = new Server();
  const world = new World(server.accept);
  const made = chatIn(world);
  made.chat.start({ name: "Ann" });
  await world.pass(20);
  return { server, world, ...made };
}

const AT = 1_000_000_000;
const GOOD: Record<string, unknown>[] = [
  {
    type: "welcome",
    version: 1,
    name: "Ann",
    log: "l",
    server: "s",
    rooms: [],
    whispers: 0,
    salt: "s",
    limits: {},
  },
  { type: "said", room: "lobby", seq: 1, from: "Bob", at: AT, id: "x", body: "hi", cipher: "selchat1 a 1 b" },
  { type: "whispered", seq: 1, from: "Bob", to: "Ann", at: AT, body: "hi", id: "y" },
  { type: "ack", id: "z", room: "lobby", seq: 1, at: AT },
  { type: "joined", room: "lobby", names: ["Bob"], total: 2 },
  { type: "left", room: "lobby", names: ["Bob"], total: 1 },
  { type: "topic", room: "lobby", topic: "t", from: "Bob", at: AT },
  { type: "users", room: "lobby", names: ["Ann"], total: 1, topic: "", seq: 0, salt: "s" },
  { type: "rooms", rooms: [{ room: "a", members: 1, topic: "", seq: 0 }], total: 1 },
  { type: "history", room: "lobby", more: true, messages: [{ from: "Bob", seq: 1, at: AT, body: "hi" }] },
  { type: "gap", room: "lobby", after: 0, before: 9 },
  { type: "error", code: "muted", message: "no", id: "q", room: "lobby", to: "Bob", retry_after: 3 },
  { type: "ping", token: "t" },
  { type: "pong", token: "t" },
  { type: "news", of: "tomorrow" },
];
const BAD: unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  2 ** 53,
  1e300,
  "",
  "x",
  "\ud800",
  "x".repeat(100_000),
  [],
  {},
  [null],
  [{}],
  [1],
  { __proto__: null },
  "constructor",
  "__proto__",
];

test("invalid frames are ignored", async () => {
  const { server, world, chat } = await page();
  const session = server.sessionOf("Ann");
  for (const frame of [
    "",
    "{",
    "null",
    "1",
    '"x"',
    "[]",
    "{}",
    '{"type":1}',
    '{"type":"toString"}',
    "\0",
    "\ud800",
  ]) {
    session?.send(frame);
  }
  server.say("lobby", "Bob", "still here");
  await world.pass(10);
  assert.deepEqual(lines(chat, "#lobby"), ["said Bob: still here"]);
});

test("every field of every message may be missing or of a wrong type", async () => {
  for (const good of GOOD) {
    const { server, world, chat } = await page();
    await chat.setPassphrase("", "words");
    for (const field of Object.keys(good).filter((name) => name !== "type")) {
      for (const value of [undefined, ...BAD]) {
        const session = server.sessionOf("Ann");
        session?.send({ ...good, [field]: value });
        for (const inner of ["rooms", "messages"]) {
          const [one] = (good[inner] as Record<string, unknown>[] | undefined) ?? [];
          if (one)
            for (const name of Object.keys(one))
              session?.send({ ...good, [inner]: [{ ...one, [name]: value }] });
        }
      }
    }
    await world.pass(50);
    server.say("lobby", "Bob", "still here");
    await world.pass(3000);
    assert.equal(chat.link.state, "online", String(good.type));
    const bodies = chat.conversation("#lobby")?.entries.map(({ body }) => body);
    if (good.type !== "said" && good.type !== "gap")
      assert.ok(bodies?.includes("still here"), String(good.type));
  }
});

test("random messages in a random order break nothing", async () => {
  const { integer, pick } = generator(7);
  for (let round = 0; round < 20; round += 1) {
    const { server, world, chat } = await page();
    if (round % 2) await chat.setPassphrase("", "words");
    for (let step = 0; step < 200; step += 1) {
      const good = pick(GOOD);
      const changed = integer(3) ? {} : { [pick(Object.keys(good))]: pick(BAD) };
      server
        .sessionOf("Ann")
        ?.send({ ...good, seq: integer(20), after: integer(20), before: integer(20), ...changed });
      if (!integer(10)) chat.submit(`line ${step}`);
      if (!integer(40)) world.cut();
      await world.pass(integer(5));
    }
    await world.pass(60_000);
    assert.ok(["online", "waiting", "connecting"].includes(chat.link.state));
  }
});

test("a second welcome, or messages before the first, change nothing", async () => {
  const { server, world, chat } = await page();
  server.sessionOf("Ann")?.send(GOOD[0]);
  await world.pass(10);
  assert.equal(chat.conversations.length, 1);
  assert.equal(chat.server, "model");
});

test("names, topics and bodies are escaped", async () => {
  const { server, world, chat } = await page();
  const evil = "<img src=x onerror=alert(1)>\u202e\x1b[2J";
  server.say("lobby", evil, `${evil}\n\tsecond`);
  const session = server.sessionOf("Ann");
  session?.send({ type: "topic", room: "lobby", topic: evil, from: evil, at: AT });
  session?.send({ type: "joined", room: "lobby", names: [evil], total: 2 });
  session?.send({ type: "error", code: "x", message: evil });
  await world.pass(10);
  const shown = "<img src=x onerror=alert(1)>\\u202e\\x1b[2J";
  const lobby = chat.conversation("#lobby");
  assert.equal(lobby?.topic, shown);
  assert.ok(lobby?.people.includes(shown));
  assert.deepEqual(lines(chat, "#lobby"), [
    `said ${shown}: ${shown}\n\tsecond`,
    `topic ${shown}: ${shown}`,
    `joined : ${shown}`,
    `notice : ${shown}.`,
  ]);
});

test("nobody can fake an action of another user", async () => {
  const { server, world, chat } = await page();
  server.say("lobby", "Bob", "* Ann waves");
  server.say("lobby", "Bob", "* Bob waves");
  await world.pass(10);
  assert.deepEqual(lines(chat, "#lobby"), ["said Bob: * Ann waves", "action Bob: waves"]);
});

test("ten thousand messages in a room take linear time", async () => {
  const { server, world, chat } = await page();
  const before = process.cpuUsage().user;
  for (let number = 0; number < 10_000; number += 1)
    server.sessionOf("Ann")?.send({ ...GOOD[1], cipher: undefined, seq: number + 1 });
  server.room("lobby").seq = 10_000;
  await world.pass(1).catch(() => {});
  const entries = chat.conversation("#lobby")?.entries ?? [];
  assert.equal(entries.length, 10_000);
  assert.ok(process.cpuUsage().user - before < 20e6); // a wide margin: only quadratic time exceeds it
});
