import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, quoteName, splitName } from "../src/core/commands.ts";
import { complete } from "../src/core/completion.ts";
import { mentions } from "../src/core/text.ts";

const NAMES = ["Ann", "Ann Lee", "Table for two", "Zoë", "Bob", "for", "İpek Öz", "李 雷", "@home"];

test("/msg takes a name in quotes, or the longest known name, or the first word", () => {
  for (const [line, to, text] of [
    ["/msg Bob hi", "Bob", "hi"],
    ["/msg bob  two  words ", "Bob", "two  words"],
    ['/msg "Table for two" hi', "Table for two", "hi"],
    ['/msg "table  FOR two"hi', "Table for two", "hi"],
    ["/msg “Table for two” hi", "Table for two", "hi"],
    ["/msg „Table for two“ hi", "Table for two", "hi"],
    ["/msg Table for two hi", "Table for two", "hi"],
    ["/msg table FOR  two hi", "Table for two", "hi"],
    ["/msg Table for three", "Table", "for three"],
    ["/msg Ann hi", "Ann", "hi"],
    ["/msg Ann Lee hi", "Ann Lee", "hi"],
    ["/msg ann leeward", "Ann", "leeward"],
    ['/msg "Ann" Lee hi', "Ann", "Lee hi"],
    ["/msg @Ann hi", "Ann", "hi"],
    ["/msg @ann lee hi", "Ann Lee", "hi"],
    ["/msg @home hi", "@home", "hi"],
    ["/msg Zoe\u0308 hi", "Zoë", "hi"],
    ["/msg i\u0307pek o\u0308z hi", "İpek Öz", "hi"],
    ["/msg 李 雷 你好", "李 雷", "你好"],
    ['/msg Bob say "hi"', "Bob", 'say "hi"'],
    ["/msg Nobody hi\nthere", "Nobody", "hi\nthere"],
    ['/msg "Not here" hi', "Not here", "hi"],
    ['/msg Bob "', "Bob", '"'],
  ] as const)
    assert.deepEqual(parse(line, NAMES), { type: "msg", to, text }, line);
});

test("/msg without a name, without text or with open quotes shows its usage", () => {
  const problem = 'Usage: /msg NAME TEXT, or /msg "A NAME" TEXT';
  for (const line of [
    "/msg",
    "/msg ",
    "/msg Bob",
    "/msg Ann Lee",
    "/msg Table for two",
    '/msg "Table for two"',
    '/msg "Table for two hi',
    '/msg "" hi',
    '/msg " " hi',
  ])
    assert.deepEqual(parse(line, NAMES), { type: "invalid", problem }, line);
});

test("rooms may be in quotes, too", () => {
  assert.deepEqual(parse('/join "deck"'), { type: "join", room: "deck" });
  assert.deepEqual(parse('/users "deck"'), { type: "users", room: "deck" });
  assert.deepEqual(parse("/part “deck”"), { type: "part", room: "deck" });
  assert.deepEqual(parse('/join "two words"'), { type: "invalid", problem: "Usage: /join ROOM" });
  assert.deepEqual(parse("/join two words"), { type: "invalid", problem: "Usage: /join ROOM" });
});

test("commands for the server are sent as they are typed", () => {
  for (const line of [
    '/mute "Table for two" for 1h',
    "/ban Table for two for 2d",
    "/kick Ann Lee",
    "/bans",
    "/ops",
  ])
    assert.deepEqual(parse(line, NAMES), { type: "operator", text: line }, line);
  for (const line of ["/claim 7K3M-9QRT", "/rooms drop plans"])
    assert.deepEqual(parse(line, NAMES), { type: "operator", text: line }, line);
});

test("a name that is split from its words is found again in quotes", () => {
  for (const name of NAMES)
    for (const rest of ["hi", "for two", "Lee", '"x" y'])
      assert.deepEqual(splitName(`"${name}" ${rest}`, NAMES), { name, rest });
  for (const name of ["Table for two", "Ann Lee"])
    assert.deepEqual(splitName(`${quoteName(name)} x`, []), { name, rest: "x" });
});

test("completion quotes names with spaces for every command that takes a name", () => {
  const filled = (line: string): string[] => {
    const { start, end, candidates } = complete(line, NAMES, ["deck"]);
    return candidates.map((one) => line.slice(0, start) + one + line.slice(end));
  };
  for (const command of ["/msg", "/kick", "/ban", "/unban", "/mute", "/unmute"]) {
    for (const typed of ["T", "table", "Table ", "Table fo", '"Table fo', '"t', "@Ta"])
      assert.deepEqual(filled(`${command} ${typed}`), [`${command} "Table for two" `], typed);
    assert.deepEqual(filled(`${command} B`), [`${command} Bob `]);
    assert.deepEqual(filled(`${command} ann`), [`${command} Ann `, `${command} "Ann Lee" `]);
  }
  for (const command of ["/join", "/part", "/users", "/rooms drop"])
    for (const typed of ["", "d", "#de"])
      assert.deepEqual(filled(`${command} ${typed}`), [`${command} ${typed.replace(/[de]+/, "")}deck`]);
  assert.deepEqual(filled("/msg Bob hello Ta"), ["/msg Bob hello Table for two"]);
  assert.deepEqual(filled('/msg "Ann Lee" hello Zo'), ['/msg "Ann Lee" hello Zoë']);
});

test("completion keeps the @ and the bracket before a name", () => {
  for (const [line, names] of [
    ["@A", ["@Ann", "@Ann Lee"]],
    ["hi @ann l", ["hi @Ann Lee"]],
    ["(Ta", ["(Table for two"]],
    ["hi “@Table for", ["hi “@Table for two"]],
    ["@h", ["@home"]],
    ["@ho", ["@home"]],
    ["see @Table for tw", ["see @Table for two"]],
  ] as const) {
    const { start, end, candidates } = complete(line, NAMES, []);
    assert.deepEqual(
      candidates.map((one) => line.slice(0, start) + one + line.slice(end)),
      names,
    );
  }
});

test("64 KiB of any line are parsed, completed and searched for mentions in linear time", () => {
  // Like the test of parseMarkup: only quadratic time fails every try.
  const works: [string, (text: string) => unknown][] = [
    ["parse", (text) => parse(text, NAMES)],
    ["complete", (text) => complete(text, NAMES, NAMES)],
    ["mentions", (text) => mentions(text, "Ann Lee")],
  ];
  const cost = (work: (text: string) => unknown, text: string, times: number): number => {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < times; i++) work(text);
    return Number(process.hrtime.bigint() - begun) / times;
  };
  for (const [name, work] of works)
    for (const start of ["", "/me a", "/msg ", '/msg "', "/msg Bob ", "/join ", "/mute ", "@"])
      for (const unit of [
        " ",
        "a ",
        '"',
        '" ',
        "\n",
        "a",
        "@",
        "\u0316\u0300",
        "\u0300",
        "é",
        "Ann Lee",
        "A",
      ]) {
        const small = `${start}${unit.repeat(Math.ceil(656 / unit.length))}x`;
        const large = `${start}${unit.repeat(Math.ceil(65_536 / unit.length))}x`;
        cost(work, small, 20);
        const isLinear = (): boolean => cost(work, large, 1) < cost(work, small, 50) * 100 * 20;
        assert.ok(isLinear() || isLinear() || isLinear() || isLinear(), JSON.stringify([name, start, unit]));
      }
});
