// Against the real server, on its plain wire: skipped where there is no Python to start it.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import type { Ears, Socket } from "../src/core/platform.ts";
import { chatIn, lines, Shared, World } from "./world.ts";

const PYTHON = process.env.SELCHAT_PYTHON ?? "python3";
let server: ChildProcess | undefined;
let port = 0;

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createServer().listen(0, "127.0.0.1", () => {
      const { port } = socket.address() as { port: number };
      socket.close(() => resolve(port));
    });
  });
}

async function start(): Promise<void> {
  const args = [
    "-m",
    "selchat",
    "serve",
    `--port=${port}`,
    "--host=127.0.0.1",
    "--no-history",
    "--message-rate=0",
  ];
  server = spawn(PYTHON, args, { cwd: "..", stdio: "ignore" });
  for (let tries = 0; tries < 100; tries += 1) {
    const up = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      }).on("error", () => resolve(false));
    });
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no server");
}

/** A world whose sockets are real. */
class Real extends World {
  override connect(ears: Ears): Socket {
    let data = Buffer.alloc(0);
    const socket = connect(port, "127.0.0.1", () => ears.opened());
    socket.on("data", (more) => {
      data = Buffer.concat([data, more]);
      for (;;) {
        const length = Number(data.subarray(0, 10).toString());
        if (data.length < 10 || data.length < 10 + length) break;
        const text = data.subarray(10, 10 + length).toString();
        data = data.subarray(10 + length);
        ears.received(text);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => ears.closed(""));
    return {
      send: (text) => socket.write(`${String(Buffer.byteLength(text)).padEnd(10)}${text}`),
      close: () => {
        socket.removeAllListeners("data").removeAllListeners("close");
        socket.end();
      },
    };
  }

  override now(): number {
    return Date.now();
  }

  override after(ms: number, call: () => void): () => void {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  }
}

async function until(what: string, is: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!is()) {
    assert.ok(Date.now() < end, `no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const isThere = spawnSync(PYTHON, ["-c", "import selchat.cli"], { cwd: ".." }).status === 0;
const skip = isThere ? false : "there is no Python with selchat's needs (SELCHAT_PYTHON)";

before(async () => {
  port = await freePort();
  if (isThere) await start();
});
after(() => server?.kill());

test("two pages talk", { skip }, async () => {
  const [a, b] = [
    chatIn(new Real(() => null, new Shared())).chat,
    chatIn(new Real(() => null, new Shared())).chat,
  ];
  a.start({ name: "Ann" });
  await until("link", () => a.link.state === "online");
  b.start({ name: "Bob" });
  await until("link", () => b.link.state === "online");
  assert.equal(a.type("hello"), "");
  await until("message", () => lines(b, "#lobby").includes("said Ann: hello"));
  await until("ack", () => lines(a, "#lobby").includes("said Ann: hello"));
  b.type("/msg Ann psst");
  await until("whisper", () => lines(a, "@bob").includes("whisper Bob: psst"));
  await until("people", () => a.conversation("#lobby")?.people.join() === "Ann,Bob");
  a.stop();
  b.stop();
});
