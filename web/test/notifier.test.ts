import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversation, Entry } from "../src/core/api.ts";
import { entryOf } from "../src/core/talk.ts";
import { wording } from "../src/view/notifier.ts";

const said = (more: Partial<Entry> = {}): Entry =>
  entryOf("k", "said", { from: "Michael", body: "Venkat, the lighthouse", mention: true, ...more });
const lobby = (locked: Conversation["locked"]) => ({ name: "lobby", locked });

test("a notification says what was said, where nothing is encrypted", () => {
  assert.deepEqual(wording(said(), lobby("no")), {
    title: "Michael mentions you in lobby",
    body: "Venkat, the lighthouse",
  });
  const whisper = said({ kind: "whisper", to: "Venkat", body: "psst" });
  assert.deepEqual(wording(whisper, { name: "Michael", locked: "no" }), {
    title: "Michael whispers to you",
    body: "psst",
  });
  assert.equal(wording(said({ body: "a".repeat(65_000) }), lobby("no")).body.length, 200);
});

test("nothing that is said in an encrypted conversation is in a notification", () => {
  for (const locked of ["open", "locked"] as const) {
    for (const sealed of ["no", "yes", "opening", "unreadable"] as const)
      assert.equal(wording(said({ sealed }), lobby(locked)).body, "", `${locked} ${sealed}`);
  }
  assert.equal(wording(said({ sealed: "yes" }), lobby("no")).body, "");
  assert.equal(wording(said({ cipher: "caesar" }), lobby("no")).body, "");
});
