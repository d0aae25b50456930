import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversation, Entry } from "../src/core/api.ts";
import { newEntry } from "../src/core/conversation.ts";
import { notificationText } from "../src/view/notifier.ts";

const said = (more: Partial<Entry> = {}): Entry =>
  newEntry("k", "said", { from: "Michael", body: "Venkat, the lighthouse", mention: true, ...more });
const lobby = (locked: Conversation["locked"]) => ({ name: "lobby", locked });

test("a notification says what was said, where nothing is encrypted", () => {
  assert.deepEqual(notificationText(said(), lobby("no")), {
    title: "Michael mentions you in lobby",
    body: "Venkat, the lighthouse",
  });
  const whisper = said({ kind: "whisper", to: "Venkat", body: "psst" });
  assert.deepEqual(notificationText(whisper, { name: "Michael", locked: "no" }), {
    title: "Michael whispers to you",
    body: "psst",
  });
  assert.equal(notificationText(said({ body: "a".repeat(65_000) }), lobby("no")).body.length, 200);
});

test("nothing that is said in an encrypted conversation is in a notification", () => {
  for (const locked of ["unlocked", "locked"] as const) {
    for (const sealed of ["no", "yes", "decrypting", "unreadable"] as const)
      assert.equal(
        notificationText(said({ encryption: sealed }), lobby(locked)).body,
        "",
        `${locked} ${sealed}`,
      );
  }
  assert.equal(notificationText(said({ encryption: "yes" }), lobby("no")).body, "");
  assert.equal(notificationText(said({ cipher: "caesar" }), lobby("no")).body, "");
});
