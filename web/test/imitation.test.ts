// No name and no text of a user can pass for those of another user, or for a text of the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "../src/core/api.ts";
import { newEntry } from "../src/core/conversation.ts";
import { cleanName, escapeControls, escapeLines } from "../src/core/text.ts";
import { notificationText } from "../src/view/notifier.ts";
import { screenReaderLine } from "../src/view/row-element.ts";
import { generator } from "./generator.ts";
import { Server } from "./server.ts";
import { chatIn, World } from "./world.ts";

const { integer, pick } = generator(11);
const PARTS = [
  "Bob",
  "Lee",
  "Bob Lee",
  "joined",
  "left",
  "and",
  "Server",
  "set the topic",
  "removed the topic",
  "The topic of lobby",
  "Direct message from",
  "Encrypted direct message from",
  "sent an encrypted message",
  "mentions you in lobby",
  "Not sent",
  "Users online",
  "You are muted",
  "2 others",
  ": ",
  " > ",
  ", ",
  "* ",
  "“",
  "”",
  '"',
  "\n",
  "\u202e",
  "\u2068",
  "\u200b",
  "e\u0301",
  "\u0416",
  "the user",
];
const text = (most: number): string => {
  let made = "";
  for (let left = 1 + integer(most); left > 0; left--) made += `${made ? pick(["", " "]) : ""}${pick(PARTS)}`;
  return made;
};
const name = (): string => cleanName(text(4)) || "Bob";

test("every entry has a line of its own for screen readers", () => {
  const entries = new Map<string, string>();
  for (let round = 0; round < 60_000; round++) {
    const from = name();
    const kind = pick(["said", "said", "whisper", "action", "topic", "joined", "left"] as const);
    const body = kind === "topic" ? escapeControls(text(3)) : escapeLines(text(3));
    const names = [...new Set([name(), name()].slice(integer(2)))].map(escapeControls);
    const some: Partial<Entry> =
      kind === "joined" || kind === "left"
        ? { names }
        : kind === "topic"
          ? { from: escapeControls(from), body: pick([body, body, ""]) }
          : {
              from: escapeControls(from),
              body,
              encryption: kind !== "action" && !integer(8) ? "unreadable" : "no",
            };
    const entry = newEntry("k", kind, some);
    const meaning = JSON.stringify([
      kind,
      entry.from,
      entry.encryption === "no" ? entry.body.trim() : "",
      entry.names,
      entry.encryption,
    ]);
    const line = screenReaderLine(entry).trim();
    const other = entries.get(line);
    assert.ok(other === undefined || other === meaning, `${line}\n${other}\n${meaning}`);
    entries.set(line, meaning);
  }
});

test("every notification has a title of its own", () => {
  const titles = new Map<string, string>();
  for (let round = 0; round < 20_000; round++) {
    const kind = pick(["said", "whisper"] as const);
    const room = { name: pick(["lobby", "deck", "Bob"]), locked: "no" } as const;
    const entry = newEntry("k", kind, { from: name(), body: "hi" });
    const meaning = JSON.stringify([kind, entry.from, kind === "said" ? room.name : ""]);
    const { title } = notificationText(entry, room);
    assert.ok(titles.get(title) === undefined || titles.get(title) === meaning, title);
    titles.set(title, meaning);
  }
});

test("a list of users, a list of rooms and a search show each name and each text apart", async () => {
  const server = new Server();
  const world = new World(server.accept);
  const { chat } = chatIn(world);
  chat.start({ name: "Ann" });
  await world.pass(20);
  const evil = "Bob, Carol";
  server.say("lobby", "Venkat > pay Mallory 100, now\n2024-01-01", "word > * Bob\nword");
  server.say("lobby", "Bob", "* Bob word > x");
  const session = server.sessionOf("Ann");
  session?.send({ type: "joined", room: "lobby", names: [evil], total: 2 });
  await world.pass(20);
  chat.submit("/search word");
  await world.pass(50);
  const found = chat.conversation("#lobby")?.entries.at(-1)?.phrase ?? [];
  assert.deepEqual(
    found.filter((piece) => typeof piece !== "string"),
    [
      { name: "Venkat > pay Mallory 100, now\\n2024-01-01" },
      { quote: "word > * Bob\\nword" },
      { name: "Bob" },
      { quote: "word > x" },
      { name: "lobby" },
    ],
  );
  session?.send({
    type: "rooms",
    rooms: [{ room: "a (9): b", members: 1, topic: "t\nlobby (99): x", seq: 0 }],
    total: 1,
  });
  await world.pass(20);
  chat.submit("/users");
  await world.pass(20);
  const users = chat.conversation("#lobby")?.entries.at(-1)?.phrase ?? [];
  assert.ok(users.every((piece) => typeof piece === "string" || "name" in piece));
});
