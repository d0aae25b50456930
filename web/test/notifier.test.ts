import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversation, Entry } from "../src/core/api.ts";
import { newEntry } from "../src/core/conversation.ts";
import { notificationText } from "../src/view/notifier.ts";

const said = (more: Partial<Entry> = {}): Entry =>
  newEntry("k", "said", { from: "Michael", body: "Venkat, the lighthouse", mention: true, ...more });
const lobby = (locked: Conversation["locked"]) => ({ name: "lobby", locked });

test("a notification shows the text of unencrypted conversations", () => {
  assert.deepEqual(notificationText(said(), lobby("no")), {
    title: "Michael mentions you in lobby",
    body: "Venkat, the lighthouse",
  });
  const whisper = said({ kind: "whisper", to: "Venkat", body: "psst" });
  assert.deepEqual(notificationText(whisper, { name: "Michael", locked: "no" }), {
    title: "Direct message from Michael",
    body: "psst",
  });
  assert.equal(notificationText(said({ body: "a".repeat(65_000) }), lobby("no")).body.length, 200);
});

test("a notification shows no text of encrypted conversations", () => {
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
