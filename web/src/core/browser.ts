// The core in a browser: its socket, clock, storage, tabs, and the worker.

import type { Chat } from "./api.ts";
import { Core } from "./chat.ts";
import type { Answer, Request } from "./e2ee.ts";
import { toBase64 } from "./e2ee.ts";
import type { Platform, Readiness, Socket, SocketEvents } from "./platform.ts";

declare const WORKER: string; // URL of the worker, filled in by the build

const MAX_TIMER = 2 ** 31 - 1; // ms: the longest timer that browsers support
const READINESS_TIMEOUT = 3000; // ms to wait for the server's readiness
const NO_WORKER = "encryption is not running in this page; reload the page";
const CLAIM_TIMEOUT = 400; // ms for a page that is closing to release its name

/** Make the chat with the server that served this page. */
export function makeChat(): Chat {
  const chat = new Core(new Browser());
  addEventListener("online", () => chat.retryNow());
  addEventListener("pageshow", (event) => event.persisted && chat.retryNow());
  document.addEventListener(
    "visibilitychange",
    () => document.visibilityState === "visible" && chat.retryNow(),
  );
  return chat;
}

/** Exported for the tests. */
export class Browser implements Platform {
  readonly isSecure =
    location.protocol === "https:" || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(location.hostname);
  private readonly unsaved = new Map<string, string>(); // values that the browser refuses to store
  private readonly claims = new Map<string, () => void>();
  private readonly worker = new CryptoWorker();

  connect(events: SocketEvents): Socket {
    const url = new URL("ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.onopen = () => events.opened();
    socket.onmessage = (event) => events.received(event.data);
    socket.onclose = (event) => events.closed(event.reason);
    return {
      send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
      close: () => {
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
      },
    };
  }

  async readiness(): Promise<Readiness | null> {
    try {
      const response = await fetch(new URL("readyz", location.href), {
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(READINESS_TIMEOUT),
      });
      const isText = response.headers.get("content-type")?.startsWith("text/plain"); // otherwise it is a proxy's error page
      return { status: response.status, text: isText ? await response.text() : "" };
    } catch {
      return null;
    }
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  setTimer(ms: number, call: () => void): () => void {
    const timer = setTimeout(call, Math.min(ms, MAX_TIMER));
    return () => clearTimeout(timer);
  }

  random(): number {
    return Math.random();
  }

  token(): string {
    return toBase64(crypto.getRandomValues(new Uint8Array(16)));
  }

  load(key: string): string {
    try {
      return localStorage.getItem(key) ?? this.unsaved.get(key) ?? "";
    } catch {
      return this.unsaved.get(key) ?? "";
    }
  }

  save(key: string, value: string): void {
    this.unsaved.set(key, value);
    try {
      localStorage.setItem(key, value);
    } catch {
      // Storage is forbidden or full: keep the value until the page closes.
    }
  }

  /**
   * Take a Web Lock, which the browser releases when the page closes. Without locks no tab can know about the
   * others: treat the name as free.
   */
  async claim(name: string): Promise<boolean> {
    if (!("locks" in navigator)) return true;
    const signal = AbortSignal.timeout(CLAIM_TIMEOUT);
    return new Promise((resolve) => {
      navigator.locks
        .request(`selchat ${name}`, { signal }, () => {
          resolve(true);
          return new Promise<void>((release) => this.claims.set(name, release));
        })
        .catch(() => resolve(!signal.aborted));
    });
  }

  release(name: string): void {
    this.claims.get(name)?.();
    this.claims.delete(name);
  }

  startWorker(): void {
    this.worker.start();
  }

  callWorker(request: Request): Promise<Answer> {
    return this.worker.call(request);
  }
}

/** The worker. It starts once, early or with the first request. */
class CryptoWorker {
  private worker: Worker | null = null;
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private lastNumber = 0;

  call(request: Request): Promise<Answer> {
    const worker = this.start();
    this.lastNumber += 1;
    return new Promise((resolve) => {
      this.waiting.set(this.lastNumber, resolve);
      worker.postMessage({ number: this.lastNumber, request });
    });
  }

  start(): Worker {
    if (this.worker) return this.worker;
    const worker = new Worker(WORKER);
    worker.onmessage = ({ data }: MessageEvent<{ number: number; answer: Answer }>) => {
      this.waiting.get(data.number)?.(data.answer);
      this.waiting.delete(data.number);
    };
    worker.onerror = () => {
      // It failed to load, or crashed: the next request starts another one.
      worker.terminate();
      this.worker = null;
      for (const answer of this.waiting.values()) answer({ type: "error", reason: NO_WORKER });
      this.waiting.clear();
    };
    this.worker = worker;
    return worker;
  }
}
