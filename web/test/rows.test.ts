import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "../src/core/api.ts";
import { plainName, plainText } from "../src/core/text.ts";
import { buildRows, isSameRow, membershipSummary, nameList, type Row } from "../src/view/rows.ts";

const NOON = new Date(2024, 4, 15, 12).getTime() / 1000;
let count = 0;

function entry(some: Partial<Entry> = {}): Entry {
  const key = `k${++count}`;
  return {
    key,
    kind: "said",
    from: "Venkat",
    to: "",
    names: [],
    body: "x",
    phrase: [],
    at: NOON,
    seq: 1,
    isOwn: false,
    state: "sent",
    problem: "",
    encryption: "no",
    cipher: "",
    mention: false,
    isHistory: false,
    ...some,
  };
}

const joined = (...names: string[]): Entry => entry({ kind: "joined", names });
const left = (...names: string[]): Entry => entry({ kind: "left", names });
const heads = (rows: Row[]): boolean[] => rows.flatMap((row) => (row.kind === "entry" ? [row.head] : []));
const kinds = (rows: Row[]): string[] => rows.map((row) => row.kind);

test("messages of one author in quick succession are one group", () => {
  const at = (minutes: number, some: Partial<Entry> = {}): Entry =>
    entry({ at: NOON + 60 * minutes, ...some });
  assert.deepEqual(heads(buildRows([at(0), at(1), at(5.9)], false, "")), [true, false, false]);
  assert.deepEqual(heads(buildRows([at(0), at(5)], false, "")), [true, true]);
  assert.deepEqual(heads(buildRows([at(0), at(1, { from: "Michael" }), at(2)], false, "")), [
    true,
    true,
    true,
  ]);
  assert.deepEqual(heads(buildRows([at(0), at(1, { kind: "whisper", to: "Ada" }), at(2)], false, "")), [
    true,
    true,
    true,
  ]);
  assert.deepEqual(
    heads(buildRows([at(0), at(1, { cipher: "caesar" }), at(2, { cipher: "caesar" })], false, "")),
    [true, true, false],
  );
  assert.deepEqual(
    heads(buildRows([at(0), at(1, { encryption: "yes" })], false, "")),
    [true, true],
    "its mark must be seen",
  );
  assert.deepEqual(heads(buildRows([at(0), joined("Priya"), at(1)], false, "")), [true, true]);
  assert.deepEqual(heads(buildRows([at(0), at(1, { kind: "action" }), at(2)], false, "")), [
    true,
    true,
    true,
  ]);
});

test("every day has a row, also the short and long days of clock changes", () => {
  const midnight = new Date(2024, 4, 16).getTime() / 1000;
  const rows = buildRows(
    [entry({ at: midnight - 1 }), entry({ at: midnight }), entry({ at: midnight + 5 })],
    false,
    "",
  );
  assert.deepEqual(kinds(rows), ["day", "entry", "day", "entry", "entry"]);
  assert.deepEqual(heads(rows), [true, true, false]);
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length, "keys");
});

test("an impossible time makes one day row", () => {
  const rows = buildRows(
    [entry({ at: Number.NaN }), entry({ at: 1e300 }), entry({ at: Number.POSITIVE_INFINITY })],
    false,
    "",
  );
  assert.equal(rows.filter((row) => row.kind === "entry").length, 3);
  assert.ok(rows.length <= 6);
});

test("the line for new messages precedes the first one and starts a group", () => {
  const all = [entry(), entry(), entry()];
  const rows = buildRows(all, true, all[1]?.key ?? "");
  assert.deepEqual(kinds(rows), ["start", "day", "entry", "new", "entry", "entry"]);
  assert.deepEqual(heads(rows), [true, true, false]);
  assert.ok(!kinds(buildRows(all, true, "gone")).includes("new"));
});

test("joins and leaves fold into one row, up to the next message", () => {
  const rows = buildRows([joined("A"), left("B"), joined("C"), entry(), joined("D")], false, "");
  assert.deepEqual(kinds(rows), ["day", "membership", "entry", "membership"]);
  const [, moves] = rows;
  assert.equal(moves?.kind === "membership" && moves.entries.length, 3);
});

test("many joins and leaves make several rows", () => {
  const rows = buildRows(
    Array.from({ length: 450 }, (_, i) => joined(`g${i}`)),
    false,
    "",
  );
  assert.deepEqual(kinds(rows), ["day", "membership", "membership", "membership"]);
});

const summary = (entries: Entry[]): string => plainText(membershipSummary(entries));

test("joins and leaves are summarized in one line", () => {
  assert.equal(summary([joined("Michael")]), "Michael joined");
  assert.equal(summary([joined("Michael"), joined("Venkat")]), "Michael and Venkat joined");
  assert.equal(summary([joined("A", "B", "C", "D", "E")]), "A, B, C and 2 others joined");
  assert.equal(summary([joined("A", "B", "C", "D")]), "A, B, C and D joined", "one other has a name");
  assert.equal(summary([joined("A"), left("B")]), "A joined, B left");
  assert.equal(summary([joined("A"), left("A")]), "A left");
  assert.equal(summary([left("A"), joined("A")]), "A joined");
});

test("a name cannot change the direction of the sentence around it", () => {
  assert.equal(plainText(nameList(["مريم", "Ada"])), "\u2068مريم\u2069 and Ada");
  assert.equal(plainName("\u202eevil"), "\u2068\u202eevil\u2069");
  assert.equal(plainName("Renée"), "Renée");
});

test("a name that reads like a sentence of the page is quoted in plain text, and apart in elements", () => {
  assert.equal(summary([joined("Anna and Bela", "Cleo")]), "the user “Anna and Bela” and Cleo joined");
  assert.equal(summary([joined("Bob left")]), "the user “Bob left” joined");
  assert.equal(summary([left("Jo", "Mary Ann")]), "Jo and Mary Ann left");
  for (const name of [
    "Bob set the topic",
    "Direct message from Bob",
    "Not sent",
    "B joined",
    "two others",
    "and 5 more",
  ])
    assert.equal(plainName(name), `the user “${name}”`);
  for (const name of ["Ann", "Mary Ann", "Brandon", "Leftie", "Othello", "Moreau"])
    assert.equal(plainName(name), name);
  assert.deepEqual(membershipSummary([joined("Anna and Bela", "Cleo")]).slice(1, 5), [
    { name: "Anna and Bela" },
    " and ",
    { name: "Cleo" },
    " joined",
  ]);
});

test("a row is redrawn only if it changed", () => {
  const one = entry();
  const row = (some: Entry, head = true): Row => ({ kind: "entry", key: some.key, entry: some, head });
  assert.ok(isSameRow(row(one), row(one)));
  assert.ok(!isSameRow(row(one), row({ ...one, state: "failed" })));
  assert.ok(!isSameRow(row(one), row(one, false)));
  const [a, b] = [joined("A"), joined("B")];
  const moves = (...entries: Entry[]): Row => ({ kind: "membership", key: "m", entries });
  assert.ok(isSameRow(moves(a, b), moves(a, b)));
  assert.ok(!isSameRow(moves(a), moves(a, b)));
});

test("10,000 entries make rows in linear time", () => {
  const many = Array.from({ length: 10_000 }, (_, i) => entry({ at: NOON + i * 20, from: `n${i % 7 > 3}` }));
  const rows = buildRows(many, true, "");
  assert.equal(rows.filter((row) => row.kind === "entry").length, 10_000);
});
