import assert from "node:assert/strict";
import { test } from "node:test";
import type { Core } from "../src/core/chat.ts";
import { Server } from "./server.ts";
import { chatIn, lines, Shared, World } from "./world.ts";

/** A page that is signed in. */
async function page(server: Server, name = "Ann", shared = new Shared()) {
  const world = new World(server.accept, shared);
  const made = chatIn(world);
  made.chat.start({ name });
  await world.pass(20);
  return { world, ...made };
}

function received(server: Server, type: string) {
  return server.received.filter((fields) => fields.type === type);
}

function stateOf(chat: Core): string {
  return chat.link.state;
}

function codeOf(chat: Core): string {
  return chat.link.state === "stopped" ? chat.link.code : "";
}

test("the example of the documentation", async () => {
  const server = new Server();
  server.say("lobby", "Michael", "before");
  const { world, chat } = await page(server, "Venkat");
  assert.equal(chat.name, "Venkat");
  assert.equal(chat.server, "model");
  assert.equal(chat.current, "#lobby");
  assert.deepEqual(lines(chat, "#lobby"), ["said Michael: before"]);
  assert.equal(chat.submit("hello, everyone"), "");
  assert.deepEqual(lines(chat, "#lobby").at(-1), "said Venkat: hello, everyone [pending]");
  const key = chat.conversation("#lobby")?.entries.at(-1)?.key;
  await world.pass(10);
  server.say("lobby", "Michael", "hi!");
  await world.pass(10);
  assert.deepEqual(lines(chat, "#lobby"), [
    "said Michael: before",
    "said Venkat: hello, everyone",
    "said Michael: hi!",
  ]);
  assert.equal(chat.conversation("#lobby")?.entries[1]?.key, key);
  chat.submit("/join engine-room");
  await world.pass(10);
  assert.equal(chat.current, "#engine-room");
  server.room("engine-room");
  chat.submit("/me waves");
  await world.pass(10);
  assert.deepEqual(lines(chat, "#engine-room"), ["action Venkat: waves"]);
  assert.equal(server.room("engine-room").said[0]?.body, "* Venkat waves");
  server.owners.set("narayan", "somebody");
  assert.equal(chat.submit("/msg Narayan tea?"), "");
  await world.pass(10);
  assert.equal(chat.current, "@narayan");
  server.whisper("Venkat", "Narayan", "at 4");
  await world.pass(10);
  assert.deepEqual(lines(chat, "@narayan"), ["whisper Venkat: tea?", "whisper Narayan: at 4"]);
  assert.deepEqual(received(server, "ack"), [{ type: "ack", whisper: 1 }]);
  chat.submit("/quit");
  await world.pass(10);
  assert.equal(received(server, "bye").length, 1);
  assert.equal(stateOf(chat), "stopped");
  assert.deepEqual(
    chat.conversations.map(({ id }) => id),
    ["#lobby", "#engine-room", "@narayan"],
  );
});

test("direct messages are acknowledged when read, up to the first unread one", async () => {
  const server = new Server();
  const shared = new Shared();
  const before = await page(server, "Ann", shared);
  const confirmed = () => received(server, "ack").map(({ whisper }) => whisper);
  server.whisper("Ann", "Bob", "one");
  server.whisper("Ann", "Cleo", "two");
  server.whisper("Ann", "Ann", "three, from another of my programs");
  await before.world.pass(10);
  before.chat.open("@cleo");
  await before.world.pass(10);
  assert.deepEqual(confirmed(), [], "the first was not read");
  // The page reloads before the user has looked.
  before.chat.stop();
  await before.world.pass(10);
  const { world, chat, changes } = await page(server, "Ann", shared);
  const alerts = () => changes.filter(({ type: what }) => what === "alert").length;
  assert.equal(chat.conversation("@bob")?.unread, 1);
  assert.equal(chat.conversation("@bob")?.mentions, 1);
  assert.equal(chat.conversation("@cleo")?.unread, 1);
  assert.equal(chat.conversation("@ann")?.unread, 0);
  assert.equal(alerts(), 2);
  // After a reconnect of the same page, old messages do not appear or alert again, and new ones do.
  world.cut();
  server.whisper("Ann", "Bob", "four");
  await world.pass(1000);
  assert.equal(stateOf(chat), "online");
  server.whisper("Ann", "Bob", "five");
  server.whisper("Ann", "Bob", "six");
  await world.pass(10);
  const ofBob = ["one", "four", "five", "six"].map((text) => `whisper Bob: ${text}`);
  assert.deepEqual(lines(chat, "@bob"), ofBob);
  assert.deepEqual(lines(chat, "@cleo"), ["whisper Cleo: two"]);
  assert.equal(chat.conversation("@bob")?.unread, 4);
  assert.equal(alerts(), 5, "each of those that came while it was connected");
  // The open conversation is not read while the page is hidden.
  chat.setWatching(false);
  chat.open("@bob");
  await world.pass(10);
  assert.deepEqual(confirmed(), []);
  chat.setWatching(true);
  await world.pass(10);
  assert.deepEqual(confirmed(), [1]);
  // Read while disconnected: acknowledged on the next connection.
  world.cut();
  await world.pass(1);
  chat.open("@cleo");
  await world.pass(2000);
  assert.deepEqual(confirmed().at(-1), 6);
  assert.deepEqual(lines(chat, "@bob"), ofBob);
  // Visible on arrival.
  server.whisper("Ann", "Cleo", "seven");
  await world.pass(10);
  assert.deepEqual(confirmed().at(-1), 7);
  chat.stop();
  await world.pass(10);
  const after = await page(server, "Ann", shared);
  assert.equal(after.chat.conversation("@bob"), undefined);
});

test("direct messages are numbered for each name, and renumbered by a new log", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  const confirmed = () => received(server, "ack").map(({ whisper }) => whisper);
  server.whisper("Ann", "Bob", "to Ann");
  await world.pass(10);
  chat.start({ name: "Anna" });
  await world.pass(20);
  server.whisper("Anna", "Bob", "to Anna");
  await world.pass(10);
  chat.start({ name: "Ann" });
  await world.pass(20);
  assert.deepEqual(lines(chat, "@bob"), ["whisper Bob: to Ann", "whisper Bob: to Anna"]);
  server.loseData();
  world.cut();
  server.whisper("Ann", "Cleo", "the first again");
  await world.pass(1000);
  assert.deepEqual(lines(chat, "@cleo"), ["whisper Cleo: the first again"]);
  chat.open("@bob");
  await world.pass(10);
  assert.deepEqual(confirmed(), [], "what is read is not of this log");
  chat.open("@cleo");
  await world.pass(10);
  assert.deepEqual(confirmed(), [1]);
});

test("a lost connection loses and doubles nothing", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  chat.submit("one");
  await world.pass(1); // stored, and the ack is on its way
  assert.equal(server.room("lobby").seq, 1);
  world.cut();
  server.say("lobby", "Bob", "two");
  chat.submit("three");
  await world.pass(1);
  assert.equal(stateOf(chat), "waiting");
  assert.deepEqual(lines(chat, "#lobby"), ["said Ann: one [pending]", "said Ann: three [pending]"]);
  await world.pass(1000);
  assert.equal(stateOf(chat), "online");
  assert.deepEqual(lines(chat, "#lobby"), ["said Ann: one", "said Bob: two", "said Ann: three"]);
  assert.deepEqual(
    server.room("lobby").said.map(({ body }) => body),
    ["one", "two", "three"],
  );
  const hello = received(server, "hello").at(-1);
  assert.deepEqual(hello?.resume, { log: "log-1", rooms: { lobby: 0 } });
  assert.equal(chat.conversation("#lobby")?.unread, 0);
});

test("missed messages are unread, and alert once", async () => {
  const server = new Server();
  const { world, chat, changes } = await page(server);
  chat.setWatching(false);
  server.say("lobby", "Bob", "seen by nobody");
  await world.pass(10);
  assert.equal(chat.conversation("#lobby")?.unread, 1);
  assert.equal(chat.conversation("#lobby")?.mentions, 0);
  world.cut();
  for (let number = 0; number < 5; number += 1) server.say("lobby", "Bob", `ann, see ${number}`);
  await world.pass(1000);
  assert.equal(chat.conversation("#lobby")?.unread, 6);
  assert.equal(chat.conversation("#lobby")?.mentions, 5);
  assert.equal(changes.filter(({ type: what }) => what === "alert").length, 1);
  server.say("lobby", "Bob", "Ann!");
  await world.pass(10);
  assert.equal(changes.filter(({ type: what }) => what === "alert").length, 2);
  chat.setWatching(true);
  const lobby = chat.conversation("#lobby");
  assert.equal(lobby?.unread, 0);
  assert.equal(lobby?.firstUnread, lobby?.entries.find(({ body }) => body === "seen by nobody")?.key);
  server.say("lobby", "Bob", "Ann, now you look");
  await world.pass(10);
  assert.equal(changes.filter(({ type: what }) => what === "alert").length, 2);
  assert.equal(lobby?.entries.at(-1)?.mention, true);
});

test("history is neither new nor unread, and loads in pages", async () => {
  const server = new Server();
  for (let number = 1; number <= 130; number += 1) server.say("lobby", "Bob", `Ann ${number}`);
  const { world, chat, changes } = await page(server);
  const lobby = chat.conversation("#lobby");
  assert.equal(lobby?.entries.length, 50);
  assert.equal(lobby?.unread, 0);
  assert.equal(lobby?.more, true);
  assert.ok(lobby?.entries.every(({ isHistory: old }) => old));
  assert.equal(changes.filter(({ type: what }) => what === "alert").length, 0);
  const [first, second] = [chat.loadOlder("#lobby"), chat.loadOlder("#lobby")];
  await world.pass(10);
  await Promise.all([first, second]);
  assert.equal(lobby?.entries.length, 100);
  void chat.loadOlder("#lobby");
  await world.pass(10);
  assert.deepEqual(
    lobby?.entries.map(({ body }) => body),
    Array.from({ length: 130 }, (_, at) => `Ann ${at + 1}`),
  );
  assert.equal(lobby?.more, false);
  await chat.loadOlder("#lobby");
});

test("gaps, a new log, and a log restored from a backup are shown", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  server.say("lobby", "Bob", "1");
  await world.pass(10);
  world.cut();
  for (const body of ["2", "3", "4"]) server.say("lobby", "Bob", body);
  server.trim("lobby", 4);
  await world.pass(1000);
  const gap = "2 messages are missing here: the server no longer has them";
  assert.deepEqual(lines(chat, "#lobby"), ["said Bob: 1", `gap : ${gap}`, "said Bob: 4"]);
  assert.ok(received(server, "users").length >= 2, "asked who is there after the gap");
  chat.submit("pending");
  world.cut();
  server.loseData();
  server.say("lobby", "Bob", "new 1");
  await world.pass(1000);
  assert.deepEqual(lines(chat, "#lobby").slice(3), [
    "notice : The server has started a new history",
    "said Bob: new 1",
    "said Ann: pending",
  ]);
  const keys = chat.conversation("#lobby")?.entries.map(({ key }) => key) ?? [];
  assert.equal(new Set(keys).size, keys.length);
  world.cut();
  server.trim("lobby", 3);
  server.room("lobby").seq = 1; // restored from a backup
  await world.pass(5000);
  server.say("lobby", "Bob", "two again");
  await world.pass(10);
  assert.equal(lines(chat, "#lobby").at(-1), "said Bob: two again");
});

test("rooms that do not fit into the hello are resumed one by one", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  const rooms = Array.from({ length: 200 }, (_, at) => `a-room-with-a-long-name-${at}`);
  for (const room of rooms) chat.submit(`/join ${room}`);
  await world.pass(50);
  assert.equal(chat.conversations.length, 201);
  for (const room of rooms) server.say(room, "Bob", "before");
  await world.pass(10);
  world.cut();
  for (const room of rooms) server.say(room, "Bob", "meanwhile");
  server.received.length = 0;
  await world.pass(1000);
  const hello = received(server, "hello")[0];
  assert.ok(JSON.stringify(hello).length <= 4096);
  const resumed = Object.keys((hello as { resume: { rooms: object } }).resume.rooms).length;
  assert.equal(received(server, "join").filter(({ after }) => after === 1).length, 201 - resumed);
  for (const room of rooms) {
    assert.deepEqual(lines(chat, `#${room}`), ["said Bob: before", "said Bob: meanwhile"]);
    assert.equal(chat.conversation(`#${room}`)?.unread, room === rooms.at(-1) ? 0 : 2);
  }
});

test("the window is respected, and messages typed offline are sent once", async () => {
  const server = new Server();
  server.window = 3;
  const { world, chat } = await page(server);
  world.cut();
  for (let number = 0; number < 10; number += 1) chat.submit(`${number}`);
  server.received.length = 0;
  await world.pass(1);
  let most = 0;
  for (let step = 0; step < 400; step += 1) {
    await world.pass(2);
    const acked = server.stored.values().next().value?.size ?? 0;
    most = Math.max(most, received(server, "say").length - acked);
  }
  assert.ok(most <= 3);
  assert.equal(received(server, "say").length, 10);
  assert.deepEqual(
    server.room("lobby").said.map(({ body }) => body),
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  );
  assert.ok(chat.conversation("#lobby")?.entries.every(({ state }) => state === "sent"));
});

test("messages that the server cannot store are sent again with the same id", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  server.isFailing = true;
  chat.submit("one");
  chat.submit("two");
  await world.pass(10);
  const notices = () => chat.conversation("#lobby")?.entries.filter(({ kind }) => kind === "notice").length;
  assert.equal(notices(), 1);
  await world.pass(5000);
  assert.equal(notices(), 1);
  assert.ok(received(server, "say").length >= 5);
  server.isFailing = false;
  await world.pass(2500);
  assert.deepEqual(
    server.room("lobby").said.map(({ body }) => body),
    ["one", "two"],
  );
  assert.equal(new Set(received(server, "say").map(({ id }) => id)).size, 2);
  assert.deepEqual(lines(chat, "#lobby").slice(1), ["said Ann: one", "said Ann: two"]);
});

test("a rejected message shows the reason and can be sent again", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  chat.submit("/msg nobody hello");
  await world.pass(10);
  const entry = chat.conversation("@nobody")?.entries[0];
  assert.equal(entry?.state, "failed");
  assert.equal(entry?.problem, "there is no one named nobody");
  server.owners.set("nobody", "x");
  chat.retry("@nobody", entry?.key ?? "");
  assert.deepEqual(lines(chat, "@nobody"), ["whisper Ann: hello [pending]"]);
  await world.pass(10);
  assert.deepEqual(lines(chat, "@nobody"), ["whisper Ann: hello"]);
  assert.equal(chat.conversation("@nobody")?.entries[0]?.key, entry?.key);
  assert.match(
    chat.submit("x".repeat(70_000)),
    /^Not sent: it takes \d+ bytes, and the limit is 65536\. Send it in parts\.$/,
  );
});

test("direct messages arrive once, across reconnects", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  server.whisper("Ann", "Bob", "one");
  await world.pass(2);
  chat.open("@bob"); // the acknowledgement is on its way
  world.cut();
  chat.open("#lobby");
  server.whisper("Ann", "Bob", "two");
  await world.pass(1000);
  assert.deepEqual(lines(chat, "@bob"), ["whisper Bob: one", "whisper Bob: two"]);
  assert.equal(chat.conversation("@bob")?.unread, 1);
  assert.equal(server.inboxes.get("ann")?.kept.length, 1);
  chat.open("@bob");
  await world.pass(10);
  assert.equal(server.inboxes.get("ann")?.kept.length, 0);
});

test("the list of members follows joins and leaves", async () => {
  const server = new Server();
  const ann = await page(server);
  const bob = await page(server, "Bob");
  await ann.world.pass(10);
  assert.deepEqual(ann.chat.conversation("#lobby")?.people, ["Ann", "Bob"]);
  await page(server, "Cleo");
  await ann.world.pass(10);
  assert.deepEqual(lines(ann.chat, "#lobby"), ["joined : Bob,Cleo"]);
  bob.world.cut();
  await ann.world.pass(10);
  assert.deepEqual(lines(ann.chat, "#lobby"), ["joined : Bob,Cleo", "left : Bob"]);
  assert.equal(ann.chat.conversation("#lobby")?.total, 2);
  assert.deepEqual(ann.chat.conversation("#lobby")?.people, ["Ann", "Cleo"]);
});

test("direct messages have two members, and a note to oneself has one", async () => {
  const server = new Server();
  const { world, chat } = await page(server, "Ann");
  const there = (id: string) => {
    const { people, total } = chat.conversation(id) ?? {};
    return `${people} ${total}`;
  };
  server.whisper("Ann", "bob", "psst");
  server.whisper("Ann", "Ann", "a note");
  await world.pass(10);
  assert.equal(there("@bob"), "Ann,bob 2");
  assert.equal(there("@ann"), "Ann 1");
  server.whisper("Ann", "Bob\u202e", "another, and not the same");
  server.whisper("Ann", "BOB", "the same, written otherwise");
  await world.pass(10);
  assert.equal(there("@bob"), "Ann,BOB 2");
  assert.equal(there("@bob\u202e"), "Ann,Bob\\u202e 2");
  chat.start({ name: "Zoe" });
  await world.pass(20);
  assert.equal(there("@bob"), "BOB,Zoe 2");
});

test("rooms can be left and joined again, also after a reload", async () => {
  const server = new Server();
  const shared = new Shared();
  const { world, chat } = await page(server, "Ann", shared);
  chat.submit("/join a");
  await world.pass(10);
  chat.submit("/join b");
  await world.pass(10);
  chat.submit("/part");
  await world.pass(10);
  assert.equal(chat.conversation("#b"), undefined);
  assert.equal(chat.current, "#a");
  chat.submit("/part lobby");
  await world.pass(10);
  world.cut();
  await world.pass(1000);
  assert.deepEqual(
    chat.conversations.map(({ id }) => id),
    ["#a"],
  );
  world.releaseAll();
  const again = await page(server, "Ann", shared);
  await again.world.pass(10);
  assert.equal(again.chat.name, "Ann");
  assert.deepEqual(
    again.chat.conversations.map(({ id }) => id),
    ["#a"],
  );
  chat.stop();
});

test("a second tab gets another name, and each tab gets its own name back", async () => {
  const server = new Server();
  const shared = new Shared();
  const one = await page(server, "Ann", shared);
  const two = await page(server, "Ann", shared);
  await one.world.pass(10);
  assert.equal(one.chat.name, "Ann");
  assert.equal(two.chat.name, "Ann_2");
  const told = "notice : You are Ann_2 in this tab, because Ann is in use in another tab.";
  assert.equal(stateOf(one.chat), "online");
  // The server does not notice the break, and still has both.
  for (const { world, chat } of [two, one]) {
    world.isSilent = true;
    const name = chat.name;
    await world.pass(30_000);
    chat.start({ name: "Ann" });
    await world.pass(100);
    assert.equal(stateOf(chat), "online");
    assert.equal(chat.name, name);
  }
  const notices = (chat: Core) => lines(chat, "#lobby").filter((line) => line.startsWith("notice"));
  assert.deepEqual(notices(two.chat), [told], "it is said once");
  assert.deepEqual(notices(one.chat), []);
  two.chat.stop();
  two.world.releaseAll();
  one.world.releaseAll(); // a reload
  const reloaded = await page(server, "Ann", shared);
  assert.equal(reloaded.chat.name, "Ann");
});

test("the delay grows with each attempt, with jitter, and reconnect() does not wait", async () => {
  let isUp = false;
  const server = new Server();
  const world = new World((send, close) => (isUp ? server.accept(send, close) : null));
  const { chat } = chatIn(world);
  const waits: number[] = [];
  world.randomValue = () => 1;
  chat.start({ name: "Ann" });
  for (let tries = 0; tries < 8; tries += 1) {
    await world.pass(5);
    assert.ok(chat.link.state === "waiting");
    assert.equal(chat.link.reason, "the server does not answer");
    waits.push(Math.round((chat.link.until - world.time) / 500) * 500);
    world.time = chat.link.until - 1;
    await world.pass(1);
    assert.equal(chat.link.state, "connecting");
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  await world.pass(5);
  isUp = true;
  assert.equal(stateOf(chat), "waiting");
  chat.reconnect();
  await world.pass(10);
  assert.equal(stateOf(chat), "online");
});

test("a bye ends the connection with its reason", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  server.sessionOf("Ann")?.bye("shutdown", 5);
  await world.pass(10);
  assert.ok(chat.link.state === "waiting");
  assert.ok(chat.link.until - world.time > 4900);
  assert.equal(chat.link.reason, "the server is shutting down");
  await world.pass(10_000);
  assert.equal(stateOf(chat), "online");
  server.sessionOf("Ann")?.bye("kicked", null);
  await world.pass(10_000);
  assert.deepEqual(chat.link, {
    state: "stopped",
    reason: "the operator has removed you",
    code: "kicked",
    canRetry: true,
  });
  chat.reconnect();
  await world.pass(10);
  assert.equal(stateOf(chat), "online");
  // Soon after a break, "replaced" may be caused by this page itself: it reconnects, but once.
  await world.pass(61_000);
  server.sessionOf("Ann")?.bye("replaced", null);
  await world.pass(10_000);
  assert.equal(stateOf(chat), "stopped");
  chat.reconnect();
  await world.pass(10);
  world.cut();
  await world.pass(1000);
  server.sessionOf("Ann")?.bye("replaced", null);
  await world.pass(3000);
  assert.equal(stateOf(chat), "online");
  server.sessionOf("Ann")?.bye("replaced", null);
  await world.pass(10_000);
  assert.equal(stateOf(chat), "stopped");
});

test("rejected passwords and names stop the link until the next start", async () => {
  const server = new Server();
  server.password = "sesame";
  const { world, chat } = await page(server);
  assert.deepEqual(chat.link, {
    state: "stopped",
    reason: "no: password-needed",
    code: "password-needed",
    canRetry: false,
  });
  chat.start({ name: "Ann", password: "wrong" });
  await world.pass(20);
  assert.equal(codeOf(chat), "wrong-password");
  world.isSecure = false;
  chat.start({ name: "Ann", password: "sesame" });
  await world.pass(20);
  assert.equal(codeOf(chat), "password-needed");
  assert.equal(received(server, "hello").filter(({ password }) => password === "sesame").length, 0);
  world.isSecure = true;
  chat.start({ name: "Ann", password: "sesame" });
  await world.pass(20);
  assert.equal(stateOf(chat), "online");
  world.cut();
  await world.pass(1000);
  assert.equal(stateOf(chat), "online");
  server.owners.set("bob", "another client");
  chat.start({ name: "Bob", password: "sesame" });
  await world.pass(20);
  assert.equal(codeOf(chat), "name-taken");
  chat.start({ name: "Ann", password: "sesame" });
  await world.pass(20);
  assert.equal(stateOf(chat), "online");
  assert.equal(chat.name, "Ann");
});

test("a silent server is pinged, then the connection is closed", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  const session = server.sessionOf("Ann");
  assert.ok(session);
  session.handle_ping = () => {};
  await world.pass(44_000);
  assert.equal(stateOf(chat), "online");
  assert.equal(received(server, "hello").length, 1);
  await world.pass(2000);
  assert.equal(received(server, "hello").length, 2);
  assert.equal(stateOf(chat), "online");
  await world.pass(600_000); // the pongs keep the connection
  assert.equal(received(server, "hello").length, 2);
});

for (const [how, shift] of [
  ["back", -3_600_000],
  ["forward", 3_600_000],
] as const) {
  test(`a clock that is set ${how} changes nothing about who is waited for, and for how long`, async () => {
    const server = new Server();
    const { world, chat } = await page(server);
    await world.pass(100);
    world.shift = shift;
    await world.pass(600_000); // the pongs keep the connection
    assert.equal(received(server, "hello").length, 1);
    const session = server.sessionOf("Ann");
    assert.ok(session);
    session.handle_ping = () => {};
    world.shift = 0; // and in the other direction
    await world.pass(29_000);
    world.shift = shift;
    await world.pass(15_000 + 30_000); // a ping after at most 30 s, and 15 s for the answer
    assert.equal(received(server, "hello").length, 2);
    assert.equal(stateOf(chat), "online");
    // The displayed time follows the clock.
    server.sessionOf("Ann")?.bye("full", 60);
    await world.pass(10);
    const { link } = chat;
    assert.ok(link.state === "waiting");
    const left = link.until - world.now();
    assert.ok(left > 59_000 && left < 62_000, `${left}`);
    world.shift = 0;
    await world.pass(left - 1000);
    assert.equal(stateOf(chat), "waiting");
    await world.pass(1010);
    assert.equal(stateOf(chat), "online");
    // A break long after the last one has a short delay, whatever the clock says: the connection was stable.
    world.shift = -shift;
    await world.pass(20_000);
    world.shift = shift;
    world.cut();
    await world.pass(2);
    const { link: broken } = chat;
    assert.ok(broken.state === "waiting" && broken.until - world.now() <= 500);
  });
}

test("the reason of a server that refuses connections is shown", async () => {
  const world = new World(() => null);
  const { chat } = chatIn(world);
  chat.start({ name: "Ann" });
  await world.pass(5);
  const why = () => (chat.link.state === "waiting" ? chat.link.reason : chat.link.state);
  assert.equal(why(), "the server does not answer");
  for (const [status, text, shown] of [
    [503, "the server is full\n", "the server is full"],
    [403, "your address is banned until 2026-01-01", "your address is banned until 2026-01-01"],
    [503, "\u202e<b>one\u0007\nand another", "\\u202e<b>one\\x07"],
    [503, "👍".repeat(70_000), "👍".repeat(200)],
    [502, "", "the server answered with HTTP status 502"],
    [502, " \n \n", "the server answered with HTTP status 502"],
    [200, "ready\n", "the server does not answer"],
  ] as const) {
    world.ready = { status, text };
    chat.reconnect();
    await world.pass(5);
    assert.equal(why(), shown);
  }
  world.ready = null;
  chat.reconnect();
  await world.pass(5);
  assert.equal(why(), "the server does not answer");
});

test("a late readiness answer after sign-out or sign-in is ignored", async () => {
  const server = new Server();
  let isOpen = false;
  const world = new World((send, close) => (isOpen ? server.accept(send, close) : null));
  let answer = (_: { status: number; text: string }) => {};
  world.readiness = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const { chat } = chatIn(world);
  chat.start({ name: "Ann" });
  await world.pass(5);
  assert.equal(stateOf(chat), "connecting");
  chat.stop();
  answer({ status: 503, text: "full" });
  await world.pass(5);
  assert.equal(codeOf(chat), "goodbye");
  chat.start({ name: "Ann" });
  await world.pass(5);
  isOpen = true;
  chat.start({ name: "Ann" });
  await world.pass(10);
  answer({ status: 503, text: "full" });
  await world.pass(5);
  assert.equal(stateOf(chat), "online");
  // Without any answer the page tries again all the same.
  isOpen = false;
  const reasons: string[] = [];
  chat.subscribe(() => chat.link.state === "waiting" && reasons.push(chat.link.reason));
  world.cut();
  await world.pass(20_000);
  assert.deepEqual(reasons, ["the connection was lost", "the server does not answer"]);
});

test("retryNow() retries at once, or checks the connection", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  chat.retryNow(); // a ping, which the server answers
  await world.pass(10_000);
  assert.equal(received(server, "ping").length, 1);
  assert.equal(received(server, "hello").length, 1);
  const session = server.sessionOf("Ann");
  assert.ok(session);
  session.handle_ping = () => {};
  chat.retryNow();
  chat.retryNow();
  await world.pass(3900);
  assert.equal(received(server, "hello").length, 1);
  await world.pass(600);
  assert.equal(received(server, "ping").length, 2);
  assert.equal(received(server, "hello").length, 2);
  server.sessionOf("Ann")?.bye("full", 600);
  await world.pass(10);
  assert.equal(stateOf(chat), "waiting");
  chat.retryNow();
  await world.pass(10);
  assert.equal(stateOf(chat), "online");
  chat.stop();
  chat.retryNow();
  await world.pass(10_000);
  assert.equal(stateOf(chat), "stopped");
  assert.ok(await world.claim("ann"), "the name is free for other tabs");
});

test("history that a lost connection interrupted loads after the reconnect", async () => {
  const server = new Server();
  for (let number = 0; number < 10; number += 1) server.say("lobby", "Bob", `${number}`);
  const world = new World(server.accept);
  const { chat } = chatIn(world);
  chat.start({ name: "Ann" });
  while (!chat.conversation("#lobby")) await world.pass(1);
  world.cut();
  chat.submit("/join other");
  await world.pass(3000);
  assert.equal(chat.conversation("#lobby")?.entries.length, 10);
  assert.equal(chat.current, "#other");
});

test("commands do what they say, and mistakes are explained", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  assert.equal(
    chat.submit("/nonsense 1"),
    "Unknown command /nonsense. Type /help for a list, or //nonsense to send it as a message.",
  );
  assert.equal(chat.submit("/msg"), 'Usage: /msg NAME TEXT, or /msg "A NAME" TEXT');
  assert.equal(chat.submit("/me"), "Usage: /me TEXT");
  assert.equal(chat.submit("/join a b"), "Usage: /join ROOM");
  assert.equal(
    chat.submit("/join /a"),
    "/a is not a valid room name. Use 1 to 32 characters without spaces, commas, colons, quotation marks and brackets, and do not begin with @ # / * -",
  );
  assert.equal(chat.submit("/history x"), "Usage: /history NUMBER");
  assert.equal(chat.submit("  "), "");
  for (const line of ["//slash", "/topic tea at four", "/rooms", "/USERS", "/help"])
    assert.equal(chat.submit(line), "");
  await world.pass(10);
  chat.submit("/topic");
  const shown = lines(chat, "#lobby");
  assert.ok(shown.includes("said Ann: /slash"));
  assert.ok(shown.includes("topic Ann: tea at four"));
  assert.ok(shown.includes("notice : The topic of lobby: tea at four"));
  assert.ok(shown.includes("notice : lobby (1): tea at four"));
  assert.ok(shown.includes("notice : Users online (1): Ann"));
  const help = shown.find((line) => line.includes("/search WORDS")) ?? "";
  assert.match(help, /\n\nFor operators:\n\/kick NAME +remove a user from the chat\n/);
  const ofOperators = chat.commands.filter(({ operatorsOnly: operators }) => operators);
  assert.deepEqual(
    ofOperators.map(({ name }) => name),
    ["/kick", "/ban", "/unban", "/mute", "/unmute", "/bans", "/ops", "/rooms drop"],
  );
  for (const { usage, help: means } of chat.commands) assert.ok(help.includes(usage) && help.includes(means));
  assert.equal(chat.conversation("#lobby")?.topic, "tea at four");
  chat.submit("/topic -");
  await world.pass(10);
  assert.equal(chat.conversation("#lobby")?.topic, "");
  for (let number = 0; number < 1500; number += 1)
    server.say("lobby", "Bob", number % 500 ? "no" : `Found ${number}`);
  await world.pass(10);
  chat.submit("/search FOUND bob");
  await world.pass(50);
  const found = chat.conversation("#lobby")?.entries.at(-1)?.body.split("\n") ?? [];
  assert.equal(found.length, 4);
  assert.match(found[0] ?? "", /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [AP]M)? Bob > Found 0$/);
  assert.equal(found[3], "3 messages with FOUND bob among the last 1501 messages of lobby");
  world.cut();
  await world.pass(1);
  assert.equal(chat.submit("/rooms"), "You are not connected. Try again when the connection is back.");
});

test("a search finds words in every Unicode form, in any case", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  const texts = [
    "cafe\u0301",
    "CAF\u00c9",
    "\uff23\uff41\uff46\u00e9",
    "Stra\u00dfe",
    "\ufb01ne",
    "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
  ];
  for (const text of texts) server.say("lobby", "Zoe\u0308", text);
  await world.pass(10);
  for (const [words, number] of [
    ["caf\u00e9", 3],
    ["cafe\u0301", 3],
    ["CAFE\u0301", 3],
    ["cafe", 0],
    ["strasse", 1],
    ["STRASSE", 1],
    ["fine", 1],
    ["\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3", 1],
    ["zo\u00eb CAFE\u0301", 3],
  ] as const) {
    chat.submit(`/search ${words}`);
    await world.pass(10);
    const lines = chat.conversation("#lobby")?.entries.at(-1)?.body.split("\n") ?? [];
    assert.equal(lines.length - 1, number, words);
  }
});

test("names, rooms and commands are completed", async () => {
  const server = new Server();
  const { world, chat } = await page(server);
  await page(server, "Mary Ann");
  await world.pass(10);
  server.room("engine-room");
  const candidates = (line: string) => chat.complete(line, line.length);
  assert.deepEqual(candidates("/jo"), { start: 0, end: 3, candidates: ["/join"] });
  assert.deepEqual(candidates("hi mar"), { start: 3, end: 6, candidates: ["Mary Ann"] });
  assert.deepEqual(candidates("hi mary an"), { start: 3, end: 10, candidates: ["Mary Ann"] });
  assert.deepEqual(candidates("/msg m"), { start: 5, end: 6, candidates: ['"Mary Ann" '] });
  candidates("/join e");
  await world.pass(10);
  assert.deepEqual(candidates("/join #e"), { start: 7, end: 8, candidates: ["engine-room"] });
  assert.deepEqual(candidates("nothing like zz"), { start: 15, end: 15, candidates: [] });
});
