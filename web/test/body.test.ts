import assert from "node:assert/strict";
import { test } from "node:test";
import { isLong, preview } from "../src/view/body.ts";
import { type Piece, parseMarkup } from "../src/view/markup.ts";
import { HOSTILE } from "./fake.ts";

const short = (found: Piece[]): string[] =>
  found.map((piece) => (piece.kind === "text" ? piece.text : `${piece.kind}:${piece.text}`));
const hrefs = (text: string): string[] =>
  parseMarkup(text).flatMap((piece) => (piece.kind === "link" ? [piece.href] : []));

test("a link ends before the punctuation of the sentence", () => {
  for (const [text, url] of [
    ["see https://a.example/b.", "https://a.example/b"],
    ["(https://a.example/b)", "https://a.example/b"],
    ["https://a.example/b_(c)", "https://a.example/b_(c)"],
    ["(https://a.example/b_(c)), and", "https://a.example/b_(c)"],
    ["<https://a.example/b>", "https://a.example/b"],
    ['"https://a.example/b"', "https://a.example/b"],
    ["https://a.example/b?c=d&e=f#g!", "https://a.example/b?c=d&e=f#g"],
    ["is it https://a.example/b?", "https://a.example/b"],
    ["HTTP://A.example:8080/x", "http://a.example:8080/x"],
    ["https://[::1]:33000/x]", "https://[::1]:33000/x"],
    ["**https://a.example/b**", "https://a.example/b"],
    ["https://a.example/b\u202e", "https://a.example/b"],
    ["https://a.example/b…", "https://a.example/b"],
    ["[http://[::1]:8080/x]", "http://[::1]:8080/x"],
    ["(https://[::1]), and", "https://[::1]/"],
    ["[text](https://a.example/b_(c))", "https://a.example/b_(c)"],
    ["mail me@a.example, see https://a.example:8443/k；", "https://a.example:8443/k"],
    ["***https://a.example/b***", "https://a.example/b"],
    ["https://a.example/b”, and", "https://a.example/b"],
  ] as const)
    assert.deepEqual(hrefs(text), [url], text);
});

/** All characters of these general categories, except the ASCII ones. */
const charactersOf = (...categories: string[]): string[] => {
  const wanted = new RegExp(`[${categories.map((one) => `\\p{${one}}`).join("")}]`, "u");
  const found: string[] = [];
  for (let code = 0x80; code < 0x110000; code++) {
    const character = String.fromCodePoint(code);
    if (wanted.test(character)) found.push(character);
  }
  return found;
};

test("a link ends before every closing bracket and quote, at the end, in a sentence and without a space", () => {
  const marks = [...charactersOf("Pe", "Pf", "Pi"), ")", "]", "}", ">", '"'];
  assert.ok(marks.length > 80);
  for (const mark of marks)
    for (const rest of ["", " and", ". ", "。", `${mark}`, "是的"])
      assert.deepEqual(hrefs(`x https://a.example/k${mark}${rest}`), ["https://a.example/k"], mark + rest);
});

test("a link ends before every mark that ends a sentence or a clause, also without a space", () => {
  const marks = charactersOf("Terminal_Punctuation");
  for (const mark of "。、，；：！？；،؛؟۔।॥፡።។༎၊။։") assert.ok(marks.includes(mark.normalize()), mark);
  for (const mark of marks)
    for (const rest of ["", " and", "然后", "और", "」"])
      assert.deepEqual(hrefs(`https://a.example/k${mark}${rest}`), ["https://a.example/k"], mark + rest);
});

test("a link ends before other punctuation at its end", () => {
  for (const mark of [...charactersOf("Po", "Pd"), ..."!',.:;?*~|", "**", "...", "~~", "?!", ":)", "～"])
    for (const rest of ["", " and", "\n"])
      assert.deepEqual(hrefs(`https://a.example/k${mark}${rest}`), ["https://a.example/k"], mark + rest);
});

test("a link ends before an opening bracket that it does not close, and keeps pairs", () => {
  for (const mark of [...charactersOf("Ps"), "(", "[", "{"])
    assert.deepEqual(hrefs(`https://a.example/k${mark}see b`), ["https://a.example/k"], mark);
  for (const path of ["a_(b)", "a_(b_(c))", "a[b]c", "{a}/b", "a（b）", "【a】b", "a_(b)/c", "a–b"])
    for (const [before, after] of [
      "",
      "()",
      "（）",
      "「」",
      "„“",
      "«»",
      "””",
      "‘’",
      "''",
      "** **".split(" "),
    ] as const)
      assert.equal(
        short(parseMarkup(`${before ?? ""}https://a.example/${path}${after ?? ""}`)).at(before ? 1 : 0),
        `link:https://a.example/${path}`,
      );
});

test("each of several links without spaces is one", () => {
  const two = ["https://a.example/b", "https://c.example/d"];
  for (const between of [
    "、",
    "，",
    ",",
    ";",
    "|",
    "）（",
    "」「",
    ")(",
    "。",
    "—",
    "“”",
    "[",
    " `x` ",
    "**,**",
  ])
    assert.deepEqual(hrefs(`看${two.join(between)}`), two, between);
  assert.deepEqual(hrefs("«https://a.example/L’Étranger», ‘https://a.example/b’s"), [
    "https://a.example/L%E2%80%99%C3%89tranger",
    "https://a.example/b",
  ]);
  const archived = "https://archive.example/web/https://a.example/b";
  assert.deepEqual(hrefs(archived), [archived]);
});

test("a link in a script without spaces is one, and a link in a word is none", () => {
  for (const before of ["看", "見よ：", "ดู", "смотри", "1) ", "(", "=", "👉", "（"])
    assert.deepEqual(hrefs(`${before}https://a.example/k`), ["https://a.example/k"], before);
  for (const before of ["x", "é", "_", "7"])
    assert.deepEqual(hrefs(`${before}https://a.example/k`), [], before);
});

test("an escaped control character ends a link", () => {
  assert.deepEqual(hrefs("https://a.example/b\\u202egnp.exe"), ["https://a.example/b"]);
});

test("text that is not a link stays whole", () => {
  for (const text of [
    "javascript:alert(1)",
    "data:text/html,<b>",
    "file:///etc/passwd",
    "//a.example",
    "a.example",
    "https://",
    "http:// a",
    "https://%",
    "xhttps://a.example",
    "ftp://a.example",
  ]) {
    assert.deepEqual(hrefs(text), [], text);
    assert.equal(short(parseMarkup(text)).join(""), text);
  }
});

test("a body with two links keeps the text around and between them", () => {
  assert.deepEqual(short(parseMarkup("a https://b.example, https://c.example/d e")), [
    "a ",
    "link:https://b.example",
    ", ",
    "link:https://c.example/d",
    " e",
  ]);
});

test("a deceptive link shows its real host", () => {
  const host = (text: string): string => {
    const [piece] = parseMarkup(text);
    return piece?.kind === "link" ? piece.host : "none";
  };
  assert.equal(host("https://google.com@evil.example/x"), "evil.example");
  assert.equal(host("https://аpple.com/"), "xn--pple-43d.com");
  assert.equal(host("https://0x7f.1/"), "127.0.0.1");
  assert.equal(host("https://bücher.example"), "xn--bcher-kva.example");
  assert.equal(host("https://a.example:8443/x"), "");
  assert.equal(host("https://A.Example"), "");
});

test("backticks make inline code and code blocks", () => {
  assert.deepEqual(short(parseMarkup("try `a b` and `c`.")), ["try ", "code:a b", " and ", "code:c", "."]);
  assert.deepEqual(short(parseMarkup("x\n```python\na = 1\n\nb\n```\ny")), ["x\n", "block:a = 1\n\nb", "y"]);
  assert.deepEqual(short(parseMarkup("```a```")), ["block:a"]);
  assert.deepEqual(short(parseMarkup("```\n<b>`c`</b>\n```")), ["block:<b>`c`</b>"]);
});

test("code contains no links", () => {
  assert.deepEqual(hrefs("`https://a.example` ```https://b.example```"), []);
});

test("unmatched backticks are text", () => {
  for (const text of ["a ` b", "``", "`` a ``", "` `", "`a\nb`", "```a", "`".repeat(7), "it's `"])
    assert.deepEqual(short(parseMarkup(text)), [text]);
});

test("other Markdown stays text", () => {
  const text = "# a **b** _c_ [d](e) ![f](g) <h> > i\n- j";
  assert.deepEqual(short(parseMarkup(text)), [text]);
});

test("hostile text is unchanged", () => {
  for (const text of HOSTILE) {
    const all = parseMarkup(text)
      .map((piece) => piece.text)
      .join("");
    assert.equal(all, text);
  }
});

test("parsing 64 KiB takes linear time", () => {
  // Input 200 times as long must not take 40,000 times as long. The test compares only the ratio, with a wide
  // margin, in the best of a few tries, so that a busy machine does not matter: a quadratic parser fails
  // every try.
  const cost = (text: string, times: number): number => {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < times; i++) parseMarkup(text);
    return Number(process.hrtime.bigint() - begun) / times;
  };
  for (const unit of [
    "`",
    "` ",
    "```",
    "``` `\n",
    "https://a.example/",
    "http://",
    "(",
    "https://a)",
    "https://(",
    "https://a/(/",
    "https://a.example/（",
    "https://a|https://",
    "https://a…",
    "\n`a",
  ]) {
    const small = unit.repeat(Math.ceil(328 / unit.length));
    const large = unit.repeat(Math.ceil(65536 / unit.length));
    cost(small, 200);
    const isLinear = (): boolean => cost(large, 1) < cost(small, 200) * 200 * 40;
    assert.ok(isLinear() || isLinear() || isLinear() || isLinear() || isLinear(), JSON.stringify(unit));
  }
});

test("64 KiB make a limited number of elements and lose no text", () => {
  for (const unit of [
    "`a`",
    "` a",
    "x`a`",
    "https://a.example/ ",
    "```\na\n```\n",
    "`a` https://a.example/ ",
  ]) {
    const text = unit.repeat(65536 / unit.length);
    const found = parseMarkup(text);
    assert.ok(found.length <= 402, `${found.length} of ${JSON.stringify(unit)}`);
    assert.ok(found.at(-1)?.kind === "text" && (found.at(-1)?.text.length ?? 0) > 20_000, unit);
    const few = parseMarkup(unit.repeat(20)); // ordinary input is unchanged
    assert.equal(few.filter(({ kind }) => kind === "text").length < few.length, true);
  }
});

test("combining marks on one character are limited", () => {
  const text = (body: string): string => short(parseMarkup(body)).join("");
  assert.equal(text(`a${"\u0300".repeat(16)}b`), `a${"\u0300".repeat(16)}b`);
  assert.equal(text(`a${"\u0300".repeat(30_000)}b`), `a${"\u0300".repeat(16)}…b`);
  assert.equal(text(`\`a${"\u0336".repeat(30_000)}\``), `code:a${"\u0336".repeat(16)}…`);
});

test("a body is long if it would fill the page", () => {
  assert.equal(isLong("a".repeat(2500)), false);
  assert.equal(isLong("a".repeat(2501)), true);
  assert.equal(isLong("a\n".repeat(25)), false);
  assert.equal(isLong("a\n".repeat(26)), true);
});

test("the page shows only the beginning of a long body at first", () => {
  assert.equal(preview("short\ntext"), "short\ntext");
  assert.equal(preview("\n".repeat(29_000)), "\n".repeat(24), "25 empty lines");
  assert.equal(preview("ab\n".repeat(26)), "ab\n".repeat(24).concat("ab"));
  assert.equal(preview("a".repeat(65_536)), "a".repeat(2500));
  assert.equal(preview(`${"a".repeat(2499)}👍👍`), "a".repeat(2499), "no half of a character");
  assert.equal(preview(`${"a ".repeat(1245)}https://a.example/b/c and`), "a ".repeat(1245).trimEnd());
  assert.equal(preview(`${"\n".repeat(20)}${"a".repeat(60_000)}`).length, 2500);
  for (const unit of ["a\n", "word ", "👍", "`a`", "\n"]) {
    const whole = unit.repeat(65_536 / unit.length);
    assert.ok(whole.startsWith(preview(whole)) && isLong(whole), unit);
  }
});
