// Pages with the real server, on its plain wire. Skipped without a Python that can start it.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Socket, SocketEvents } from "../src/core/platform.ts";
import { isPythonThere, PYTHON, skip } from "./python.ts";
import { chatIn, lines, Shared, World } from "./world.ts";

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

const folder = mkdtempSync(join(tmpdir(), "selchat-real-"));
const environment = { ...process.env, HOME: folder, XDG_DATA_HOME: folder };

async function start(): Promise<void> {
  const options = [
    `--port=${port}`,
    "--host=127.0.0.1",
    `--history=${join(folder, "log")}`,
    "--message-rate=0",
  ];
  server = spawn(PYTHON, ["-m", "selchat", "serve", ...options], {
    cwd: "..",
    stdio: "ignore",
    env: environment,
  });
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

/** A world with real sockets. */
class Real extends World {
  override connect(ears: SocketEvents): Socket {
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

  override setTimer(ms: number, call: () => void): () => void {
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

before(async () => {
  port = await freePort();
  if (isPythonThere) await start();
});
after(() => {
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

test("two pages exchange messages", { skip }, async () => {
  const [a, b] = [
    chatIn(new Real(() => null, new Shared())).chat,
    chatIn(new Real(() => null, new Shared())).chat,
  ];
  a.start({ name: "Ann" });
  await until("link", () => a.link.state === "online");
  b.start({ name: "Bob" });
  await until("link", () => b.link.state === "online");
  assert.equal(a.submit("hello"), "");
  await until("message", () => lines(b, "#lobby").includes("said Ann: hello"));
  await until("ack", () => lines(a, "#lobby").includes("said Ann: hello"));
  b.submit("/msg Ann psst");
  await until("whisper", () => lines(a, "@bob").includes("whisper Bob: psst"));
  await until("people", () => a.conversation("#lobby")?.people.join() === "Ann,Bob");
  a.stop();
  b.stop();
});

test("repeated kills of the server lose and double nothing", { skip }, async () => {
  const [a, b] = [
    chatIn(new Real(() => null, new Shared())).chat,
    chatIn(new Real(() => null, new Shared())).chat,
  ];
  const pages = [a, b];
  a.start({ name: "Dan" });
  b.start({ name: "Eve" });
  for (const chat of pages) {
    chat.submit("/join kills");
    await until("room", () => chat.conversation("#kills") !== undefined);
    chat.open("#kills");
  }
  const bodies = (chat: typeof a) =>
    chat
      .conversation("#kills")
      ?.entries.flatMap(({ kind, body, state }) => (kind === "said" && state === "sent" ? [body] : []));
  const typed: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (let number = 0; number < 30; number += 1) {
      for (const [at, chat] of pages.entries()) {
        typed.push(`${at} ${round} ${number}`);
        assert.equal(chat.submit(`${at} ${round} ${number}`), "");
      }
      if (number === 15) {
        await until("some", () => (bodies(a)?.length ?? 0) > round * 60);
        server?.kill("SIGKILL");
        await new Promise((resolve) => server?.once("exit", resolve));
        await start();
      }
    }
    for (const chat of pages) chat.reconnect();
    for (const chat of pages) await until("all", () => (bodies(chat)?.length ?? 0) >= typed.length);
  }
  for (const [at, chat] of pages.entries()) {
    assert.deepEqual(
      bodies(chat)?.filter((body) => body.startsWith(`${at}`)),
      typed.filter((body) => body.startsWith(`${at}`)),
    );
    assert.deepEqual(bodies(chat), bodies(a));
    assert.equal(bodies(chat)?.length, typed.length);
    chat.stop();
  }
});

test("a page and a Python client share a passphrase", { skip }, async () => {
  const { chat } = chatIn(new Real(() => null, new Shared()));
  chat.start({ name: "Fay" });
  await until("link", () => chat.link.state === "online");
  await chat.setPassphrase("", "caf\u00e9");
  chat.submit("/join sealed");
  await until("room", () => chat.conversation("#sealed") !== undefined);
  chat.open("#sealed");
  chat.submit("first");
  await until("ack", () => chat.conversation("#sealed")?.entries.at(-1)?.state === "sent");
  const program = `
import json
from selchat.client import Client, Whispered
with Client("127.0.0.1", ${port}, name="Gus", passphrase="cafe\\u0301", rooms=["sealed"], history=5) as chat:
    for message in chat:
        chat.say("read: " + message.encryption.name + " " + message.body, room="sealed", wait=True)
        chat.whisper("Fay", "psst " + message.body, wait=True)
        if message.body == "last":
            break`;
  const python = spawn(PYTHON, ["-c", program], { cwd: "..", stdio: "inherit", env: environment });
  const shows = (id: string, line: string) =>
    chat
      .conversation(id)
      ?.entries.some(({ kind, body, encryption: sealed }) => `${kind} ${body} ${sealed}` === line) ?? false;
  await until("the history that the client read", () => shows("#sealed", "said read: DECRYPTED first yes"));
  await until("a whisper", () => shows("@gus", "whisper psst first yes"));
  chat.submit("last");
  await until("the message that the client read", () => shows("#sealed", "said read: DECRYPTED last yes"));
  chat.stop();
  python.kill();
});
