import assert from "node:assert/strict";
import { test } from "node:test";
import { Drafts } from "../src/view/drafts.ts";

/** The storage of a tab, with room for `limit` characters. */
class Tab {
  readonly kept = new Map<string, string>();
  limit = 1000;
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (value.length > this.limit) throw new DOMException("full", "QuotaExceededError");
    this.kept.set(key, value);
  }
  removeItem(key: string): void {
    this.kept.delete(key);
  }
}

const open = () => false;

test("drafts survive a reload, each in its conversation", () => {
  const tab = new Tab();
  const drafts = new Drafts(() => tab, open);
  drafts.set("#lobby", "half a li");
  drafts.set("#__proto__", "nothing special");
  drafts.set("@bob", "gone");
  drafts.set("@bob", "");
  const again = new Drafts(() => tab, open);
  assert.equal(again.get("#lobby"), "half a li");
  assert.equal(again.get("#__proto__"), "nothing special");
  assert.equal(again.get("@bob"), "");
  again.set("#lobby", "");
  again.set("#__proto__", "");
  assert.equal(tab.kept.size, 0);
});

test("drafts of encrypted conversations and of /msg are not stored", () => {
  const tab = new Tab();
  const secret = new Set(["@bob"]);
  const drafts = new Drafts(
    () => tab,
    (id) => secret.has(id),
  );
  drafts.set("@bob", "secret");
  drafts.set("#lobby", "/msg Bob secret");
  drafts.set("#deck", "not yet secret");
  assert.deepEqual([...tab.kept.values()], ['{"#deck":"not yet secret"}']);
  secret.add("#deck");
  drafts.save();
  assert.equal(tab.kept.size, 0);
  assert.equal(drafts.get("@bob"), "secret", "in the page it is");
  assert.equal(drafts.get("#deck"), "not yet secret");
});

test("drafts work with refused, full or invalid storage", () => {
  const refused = new Drafts(() => {
    throw new DOMException("no", "SecurityError");
  }, open);
  refused.set("#lobby", "kept in the page");
  assert.equal(refused.get("#lobby"), "kept in the page");
  const tab = new Tab();
  const drafts = new Drafts(() => tab, open);
  drafts.set("#lobby", "x");
  drafts.set("#lobby", "x".repeat(2000));
  assert.equal(tab.kept.size, 0, "no draft rather than an old one");
  for (const stored of ["{", "null", "7", '["a"]', '{"#lobby":7}', '{"#lobby":{"a":"b"}}']) {
    tab.kept.set("selchat.drafts", stored);
    assert.equal(new Drafts(() => tab, open).get("#lobby"), "");
  }
});
