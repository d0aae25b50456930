// Encrypted messages, from the typed line to the display on another page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "./server.ts";
import { chatIn, lines, Shared, World } from "./world.ts";

async function page(server: Server, name: string) {
  const world = new World(server.accept, new Shared());
  const made = chatIn(world);
  made.chat.start({ name });
  await world.pass(20);
  return { world, ...made };
}

const WORDS = "correct horse battery staple";

test("messages are sent encrypted, and other users with the passphrase read them", async () => {
  const server = new Server();
  const [ann, bob, eve] = [await page(server, "Ann"), await page(server, "Bob"), await page(server, "Eve")];
  await ann.chat.setPassphrase("#lobby", WORDS);
  assert.equal(ann.chat.conversation("#lobby")?.locked, "unlocked");
  ann.chat.submit("bob: the usual place");
  ann.chat.submit("/me waves");
  await ann.world.pass(20);
  await bob.world.pass(20);
  await eve.world.pass(20);
  const sent = JSON.stringify(server.received);
  assert.ok(!sent.includes("usual") && !sent.includes("waves") && !sent.includes("horse"));
  assert.ok(
    server.room("lobby").said.every(({ cipher }) => /^selchat1 \S{22} [12] \S{22}$/.test(cipher ?? "")),
  );
  const own = ann.chat.conversation("#lobby")?.entries.filter(({ isOwn: mine }) => mine);
  assert.deepEqual(
    own?.map(({ body, encryption: sealed, state }) => [body, sealed, state]),
    [
      ["bob: the usual place", "yes", "sent"],
      ["waves", "yes", "sent"],
    ],
  );
  const locked = bob.chat.conversation("#lobby");
  assert.equal(locked?.locked, "locked");
  assert.equal(locked?.entries.at(-1)?.problem, "encrypted; enter the passphrase to read it");
  assert.equal(locked?.entries.at(-1)?.encryption, "unreadable");
  await bob.chat.setPassphrase("", "other words");
  await bob.world.pass(20);
  assert.equal(locked?.entries.at(-1)?.problem, "cannot be read: encrypted with another passphrase");
  await bob.chat.setPassphrase("", WORDS);
  await bob.world.pass(20);
  assert.deepEqual(
    locked?.entries
      .slice(-2)
      .map(({ kind, body, encryption: sealed, mention, problem }) => [kind, body, sealed, mention, problem]),
    [
      ["said", "bob: the usual place", "yes", true, ""],
      ["action", "waves", "yes", false, ""],
    ],
  );
  // Unencrypted messages get a badge then.
  eve.chat.submit("why do I see only this?");
  await eve.world.pass(20);
  await bob.world.pass(20);
  assert.equal(locked?.entries.at(-1)?.body, "why do I see only this?");
  assert.equal(locked?.entries.at(-1)?.encryption, "no");
  assert.equal(locked?.entries.at(-1)?.problem, "not encrypted");
  await bob.chat.setPassphrase("", "");
  assert.equal(locked?.locked, "locked");
});

test("a message with an unknown cipher differs from an unencrypted one", async () => {
  const server = new Server();
  server.say("lobby", "Old", "Khoor, Ann", { cipher: "caesar\u202e" });
  const ann = await page(server, "Ann");
  server.say("lobby", "Old", "Eb", { cipher: "rot13" });
  server.whisper("Ann", "Old", "svool", { cipher: "atbash" });
  server.say("lobby", "Bob", "hello");
  await ann.world.pass(20);
  const found = (id: string) =>
    ann.chat
      .conversation(id)
      ?.entries.map(({ body, encryption: sealed, cipher, problem }) => [body, sealed, cipher, problem]);
  assert.deepEqual(found("#lobby"), [
    ["", "no", "caesar\\u202e", ""],
    ["", "no", "rot13", ""],
    ["hello", "no", "", ""],
  ]);
  assert.deepEqual(found("@old"), [["", "no", "atbash", ""]]);
  assert.equal(ann.chat.conversation("#lobby")?.locked, "no", "a passphrase would not help");
  await ann.chat.setPassphrase("", WORDS);
  server.say("lobby", "Bob", "pay Mallory, Ann", { cipher: "none" });
  await ann.world.pass(20);
  assert.deepEqual(found("#lobby")?.at(-1), ["", "no", "none", ""], "never shown, with a passphrase neither");
  assert.equal(ann.chat.conversation("#lobby")?.mentions, 0);
});

test("an encrypted mention alerts after decryption; direct messages are encrypted for one person", async () => {
  const server = new Server();
  const [ann, bob] = [await page(server, "Ann"), await page(server, "Bob")];
  for (const { chat } of [ann, bob]) await chat.setPassphrase("", WORDS);
  bob.chat.setWatching(false);
  ann.chat.submit("Bob, come");
  await ann.world.pass(20);
  await bob.world.pass(20);
  const alerts = bob.changes.filter((change) => change.type === "alert");
  assert.deepEqual(
    alerts.map((change) => change.type === "alert" && [change.entry.body, change.entry.encryption]),
    [["Bob, come", "yes"]],
  );
  assert.equal(bob.chat.conversation("#lobby")?.mentions, 1);
  ann.chat.submit("/msg bob psst");
  await ann.world.pass(20);
  await bob.world.pass(20);
  assert.equal(ann.world.requests.filter((one) => one.type === "encrypt").at(-1)?.room, "@bob");
  assert.equal(lines(bob.chat, "@ann").at(-1), "whisper Ann: psst");
  assert.equal(bob.chat.conversation("@ann")?.entries.at(-1)?.encryption, "yes");
  // The server shows it to another user, as if it were addressed to them.
  const [stolen] = server.received.filter(({ type }) => type === "whisper");
  server.whisper("Bob", "Ann", String(stolen?.body), { cipher: stolen?.cipher });
  await bob.world.pass(20);
  assert.match(bob.chat.conversation("@ann")?.entries.at(-1)?.problem ?? "", /delivered again/);
  // Commands to the server are unencrypted.
  ann.chat.submit("/kick Bob");
  await ann.world.pass(20);
  assert.equal(server.received.at(-1)?.body, "/kick Bob");
});

test("a message being encrypted during a reconnect is encrypted again and sent once", async () => {
  const server = new Server();
  const [ann, bob] = [await page(server, "Ann"), await page(server, "Bob")];
  for (const { chat } of [ann, bob]) await chat.setPassphrase("", WORDS);
  for (let number = 0; number < 5; number += 1) ann.chat.submit(`${number}`);
  ann.world.cut(); // during the encryption of the first message
  await ann.world.pass(1000);
  ann.chat.submit("5");
  await ann.world.pass(1); // stored, but the acknowledgement is lost
  ann.world.cut();
  ann.chat.submit("6");
  await ann.world.pass(3000);
  await bob.world.pass(5000);
  const shown = bob.chat.conversation("#lobby")?.entries.filter(({ kind }) => kind === "said");
  assert.deepEqual(
    shown?.map(({ body }) => body),
    ["0", "1", "2", "3", "4", "5", "6"],
  );
  const counters = server.received.flatMap(({ cipher }) =>
    cipher ? [String(cipher).split(" ").slice(1, 3).join()] : [],
  );
  assert.equal(new Set(counters).size, counters.length);
  assert.deepEqual(
    ann.chat
      .conversation("#lobby")
      ?.entries.flatMap(({ kind, body, encryption: sealed }) => (kind === "said" ? [body + sealed] : [])),
    ["0yes", "1yes", "2yes", "3yes", "4yes", "5yes", "6yes"],
  );
});

test("a message typed with a passphrase is never sent without one", async () => {
  const server = new Server();
  const { world, chat } = await page(server, "Ann");
  await chat.setPassphrase("#lobby", WORDS);
  world.cut();
  chat.submit("secret");
  await chat.setPassphrase("#lobby", "");
  chat.submit("open");
  await world.pass(3000);
  assert.deepEqual(
    server.room("lobby").said.map(({ body }) => body),
    ["open"],
  );
  const [secret] = chat.conversation("#lobby")?.entries ?? [];
  assert.equal(secret?.state, "failed");
  assert.equal(secret?.problem, "the passphrase was removed before it could be sent");
  await chat.setPassphrase("#lobby", WORDS);
  chat.retry("#lobby", secret?.key ?? "");
  await world.pass(20);
  assert.ok(server.room("lobby").said[1]?.cipher);
  assert.ok(!JSON.stringify(server.received).includes("secret"));
});

test("a failed encrypted message is never sent again unencrypted", async () => {
  const server = new Server();
  const { world, chat } = await page(server, "Ann");
  await chat.setPassphrase("", WORDS);
  chat.submit("/msg nobody secret");
  await world.pass(20);
  const entry = chat.conversation("@nobody")?.entries[0];
  assert.equal(entry?.state, "failed");
  await chat.setPassphrase("", "");
  server.owners.set("nobody", "x");
  chat.retry("@nobody", entry?.key ?? "");
  await world.pass(20);
  assert.ok(!JSON.stringify(server.received).includes("secret"));
});

test("history is decrypted and searched, and replays in it are rejected", async () => {
  const server = new Server();
  const ann = await page(server, "Ann");
  await ann.chat.setPassphrase("", WORDS);
  for (const word of ["apples", "pears", "plums"]) ann.chat.submit(word);
  await ann.world.pass(50);
  const [first] = server.room("lobby").said;
  server.say("lobby", "Ann", first?.body ?? "", { cipher: first?.cipher, id: "x" });
  const bob = await page(server, "Bob");
  await bob.chat.setPassphrase("", WORDS);
  await bob.world.pass(50);
  const entries = bob.chat.conversation("#lobby")?.entries ?? [];
  assert.deepEqual(
    entries.map(({ body }) => body),
    ["apples", "pears", "plums", ""],
  );
  assert.match(entries[3]?.problem ?? "", /delivered again/);
  bob.chat.submit("/search pears");
  await bob.world.pass(50);
  assert.match(
    lines(bob.chat, "#lobby").at(-1) ?? "",
    /Ann > pears\n1 message with pears among the last 4 messages/,
  );
  // The author's own page also rejects the replay.
  const seen = ann.chat.conversation("#lobby")?.entries.at(-2);
  assert.ok(seen);
  await ann.world.pass(50);
  const replayed = ann.chat
    .conversation("#lobby")
    ?.entries.find(({ problem }) => /delivered again/.test(problem));
  assert.ok(replayed);
});

test("after a reload an encrypted conversation sends nothing unencrypted until the user forgets the passphrase", async () => {
  const server = new Server();
  const shared = new Shared();
  const before = new World(server.accept, shared);
  const first = chatIn(before);
  first.chat.start({ name: "Ann" });
  await before.pass(20);
  await first.chat.setPassphrase("#lobby", WORDS);
  assert.ok(![...shared.stored.values()].some((kept) => kept.includes("horse")));
  first.chat.stop();
  await before.pass(20);

  const world = new World(server.accept, shared);
  const { chat } = chatIn(world);
  chat.start({ name: "Ann" });
  await world.pass(20);
  assert.equal(chat.conversation("#lobby")?.locked, "locked");
  assert.equal(chat.conversation("#lobby")?.requiresPassphrase, true);
  assert.match(
    chat.submit("the usual place"),
    /encrypted.*Enter it, or forget it, with the Passphrase needed button/,
  );
  assert.equal(chat.submit("/join boiler"), "");
  await world.pass(20);
  chat.open("#boiler");
  assert.equal(chat.submit("steam"), "");
  chat.open("#lobby");
  await chat.setPassphrase("#lobby", WORDS);
  assert.equal(chat.submit("the usual place"), "");
  await world.pass(20);
  assert.ok(!JSON.stringify(server.received).includes("usual"));
  await chat.setPassphrase("#lobby", "");
  assert.equal(chat.conversation("#lobby")?.requiresPassphrase, false);
  assert.equal(chat.submit("anybody may read this"), "");
  await world.pass(20);
  assert.ok(JSON.stringify(server.received).includes("anybody"));
});

test("forgetting the passphrase is reported for a locked conversation", async () => {
  const server = new Server();
  const shared = new Shared();
  shared.stored.set("selchat.encrypted", '["#lobby"]');
  const world = new World(server.accept, shared);
  const { chat, changes } = chatIn(world);
  chat.start({ name: "Ann" });
  await world.pass(20);
  server.say("lobby", "Bob", "AAAA", { cipher: "selchat1 AAAAAAAAAAAAAAAAAAAAAA 1 AAAAAAAAAAAAAAAAAAAAAA" });
  await world.pass(20);
  changes.length = 0;
  await chat.setPassphrase("#lobby", "");
  const lobby = chat.conversation("#lobby");
  assert.deepEqual([lobby?.locked, lobby?.requiresPassphrase], ["locked", false]);
  assert.ok(changes.some(({ type: what }) => what === "conversations"));
});

test("invalid stored values are ignored", async () => {
  for (const kept of ["", "{", "7", "null", '["#lobby", 7, null]', '{"a": 1}']) {
    const shared = new Shared();
    shared.stored.set("selchat.encrypted", kept);
    const world = new World(new Server().accept, shared);
    const { chat } = chatIn(world);
    chat.start({ name: "Ann" });
    await world.pass(20);
    assert.equal(chat.conversation("#lobby")?.locked, kept.includes("#lobby") ? "locked" : "no");
  }
});

test("without its worker the page reports the solution and sends nothing unencrypted", async () => {
  const server = new Server();
  const world = new World(server.accept);
  const { chat } = chatIn(world);
  assert.equal(world.workerStarts, 0);
  chat.start({ name: "Ann" });
  await world.pass(20);
  assert.equal(world.workerStarts, 1, "asked for when one has joined, and not later");
  const why = "load the page again";
  world.callWorker = async () => ({ type: "error", reason: why });
  await assert.rejects(chat.setPassphrase("#lobby", WORDS), new Error(why));
  chat.submit("the usual place");
  server.say("lobby", "Bob", "AAAA", { cipher: "selchat1 x" });
  await world.pass(20);
  const shown = chat.conversation("#lobby")?.entries.map(({ state, problem }) => [state, problem]);
  assert.deepEqual(shown, [
    ["failed", why],
    ["sent", why],
  ]);
  assert.ok(!JSON.stringify(server.received).includes("usual"));
  await chat.setPassphrase("#lobby", ""); // needs no worker
});
