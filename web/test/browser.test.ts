// Browser, with stubs for the globals of a browser: the calls that it makes, and its use of the answers.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Browser } from "../src/core/browser.ts";

const before = new Map<string, PropertyDescriptor | undefined>();

/** Replace a global until the test ends. */
function stub(name: string, value: unknown): void {
  if (!before.has(name)) before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

afterEach(() => {
  for (const [name, descriptor] of before) {
    if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    else Reflect.deleteProperty(globalThis, name);
  }
  before.clear();
});

function browser(): Browser {
  stub("location", new URL("http://192.0.2.1:33000/"));
  return new Browser();
}

/** Web Locks: one holder each; others wait until they give up. */
class Locks {
  readonly held = new Set<string>();

  request(name: string, { signal }: { signal: AbortSignal }, call: () => Promise<void>): Promise<void> {
    if (!this.held.has(name)) {
      this.held.add(name);
      return call().finally(() => this.held.delete(name));
    }
    const alive = setInterval(() => {}, 1000); // the timer of the signal does not keep Node running
    return new Promise((_, reject) =>
      signal.addEventListener("abort", () => {
        clearInterval(alive);
        reject(signal.reason);
      }),
    );
  }
}

test("a name belongs to one tab until the tab releases it", async () => {
  stub("navigator", { locks: new Locks() });
  const [one, two] = [browser(), browser()];
  assert.equal(await one.claim("ann"), true);
  assert.equal(await two.claim("ann"), false, "it has waited, and another tab has it");
  assert.equal(await two.claim("bob"), true);
  one.release("ann");
  await new Promise(setImmediate);
  assert.equal(await two.claim("ann"), true);
});

test("without Web Locks every name is free", async () => {
  for (const name of ["SecurityError", "InvalidStateError", "AbortError"]) {
    const refused = () => Promise.reject(new DOMException("not here", name));
    stub("navigator", { locks: { request: refused } });
    assert.equal(await browser().claim("ann"), true, name);
  }
  stub("navigator", {});
  assert.equal(await browser().claim("ann"), true);
});

test("readiness comes from the server, and other texts than its own are not shown", async () => {
  const asked: string[] = [];
  let answers: Response | Error = new Response("the server is full\n", { status: 503 });
  stub("fetch", async (url: URL) => {
    asked.push(url.href);
    if (answers instanceof Error) throw answers;
    return answers;
  });
  assert.deepEqual(await browser().readiness(), { status: 503, text: "the server is full\n" });
  assert.deepEqual(asked, ["http://192.0.2.1:33000/readyz"]);
  answers = new Response("<html>Bad gateway", { status: 502, headers: { "Content-Type": "text/html" } });
  assert.deepEqual(await browser().readiness(), { status: 502, text: "" });
  answers = new TypeError("Failed to fetch");
  assert.equal(await browser().readiness(), null);
});

/** A worker whose file may be missing. */
class Made {
  static readonly all: Made[] = [];
  onmessage: (event: { data: unknown }) => void = () => {};
  onerror: () => void = () => {};
  ended = false;

  constructor(readonly file: string) {
    Made.all.push(this);
  }

  postMessage({ number }: { number: number }): void {
    setImmediate(() => this.ended || this.onmessage({ data: { number, answer: { type: "startEpoch" } } }));
  }

  terminate(): void {
    this.ended = true;
  }
}

test("the worker starts early, and once", async () => {
  stub("Worker", Made);
  stub("WORKER", "worker.1234.js");
  Made.all.length = 0;
  const made = browser();
  assert.equal(Made.all.length, 0, "not before one has joined");
  made.startWorker();
  made.startWorker();
  assert.deepEqual(await made.callWorker({ type: "startEpoch" }), { type: "startEpoch" });
  assert.deepEqual(
    Made.all.map(({ file }) => file),
    ["worker.1234.js"],
  );
});

test("a worker that fails to load reports the solution and is started again", async () => {
  stub("Worker", Made);
  stub("WORKER", "worker.1234.js");
  Made.all.length = 0;
  const made = browser();
  made.startWorker();
  Made.all[0]?.onerror();
  const asked = [made.callWorker({ type: "startEpoch" }), made.callWorker({ type: "startEpoch" })];
  assert.equal(Made.all.length, 2);
  Made.all[1]?.onerror();
  const failed = { type: "error", reason: "encryption is not running in this page; reload the page" };
  assert.deepEqual(await Promise.all(asked), [failed, failed]);
  assert.ok(Made.all.every(({ ended }) => ended));
  assert.deepEqual(await made.callWorker({ type: "startEpoch" }), { type: "startEpoch" });
});
