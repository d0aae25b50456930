// The link to the server: connects, and comes back when it is lost (as selchat/client/connection/link.py). It knows of the
// conversation only whether one was let in, and why not.

import type { Link as Shown } from "./api.ts";
import type { Client, Hello } from "./client.ts";
import type { Event } from "./events.ts";
import type { Platform, Socket } from "./platform.ts";
import { nameKey, visible } from "./text.ts";

const RETRY_LEAST = 500; // ms: the first ceiling of the full jitter before coming back
const RETRY_MOST = 30_000; // ms: the last
const MOST_RETRY_AFTER = 3600; // s that a server can keep one away
const SETTLED = 10_000; // ms: a connection that lives as long makes the next retry quick again
const PATIENCE = 15_000; // ms to be let in
const ECHO = 60_000; // ms for which a hello that was given up may still arrive
const SILENCE = 30_000; // ms without anything from the server, before it is asked for a sign
const SIGN = 15_000; // ms for a sign to come
const PROBE = 4_000; // ms for it when there is a reason to doubt
const STORE = 1000; // ms before saying again what the server could not store
const MOST_REASON = 200; // characters of the server's text that are shown
const SLOW_HIDDEN = 60_000; // ms that a timer of a hidden page may be late

// The reasons of `bye` in words; what is not here is shown as it is.
const BYES: Record<string, string> = {
  goodbye: "you have left",
  shutdown: "the server is shutting down",
  kicked: "the operator has removed you",
  banned: "the operator has banned you",
  replaced: "you have come in again from somewhere else",
  timeout: "the server has waited too long for this client",
  protocol: "the server does not understand this client",
  full: "the server is full",
};

// What another try would not change: it takes another name or password.
const FINAL = new Set(["password-needed", "wrong-password", "too-many-tries", "name-taken", "bad-name"]);

export class Link {
  shown: Shown = { state: "idle" };
  private socket: Socket | null = null;
  private who = { name: "", password: "" };
  private secret = "";
  isBeside = false; // another tab of this browser had the name, so that the server gave the next one
  private held = ""; // the name that this tab has for itself among those of the browser
  private attempt = 0;
  private ceiling = RETRY_LEAST;
  private upAt = 0; // in ticks, as all times here: when it was last up; 0: never
  private echoUntil = 0;
  private heardAt = 0;
  private askedAt = 0; // for a sign; 0: not
  private sign = SIGN;
  private generation = 0; // of what is under way; what belongs to an earlier one is void
  private cancelTimer = () => {}; // of the state: to be welcome, to wait
  private cancelWatch = () => {};
  private cancelStore = () => {};
  private isStoring = false;

  constructor(
    private readonly platform: Platform,
    private readonly client: Client,
    private readonly changed: () => void,
  ) {}

  /** What one wants to be called. */
  get name(): string {
    return this.who.name;
  }

  // -- what the chat does --------------------------------------------------------------------------------

  start(name: string, password: string, secret: string): void {
    if (nameKey(name) !== nameKey(this.who.name)) this.free();
    this.who = { name, password };
    this.secret = secret;
    this.drop();
    this.attempt = 0;
    this.ceiling = RETRY_LEAST;
    this.connect();
  }

  /** Connect now, if it waits or was stopped; where it is online, look whether it still is. */
  again(): void {
    const { shown } = this;
    if (shown.state === "waiting" || (shown.state === "stopped" && shown.again)) this.connect();
    else this.probe();
  }

  /** Something has changed around here (a network came, the page is seen again): do not wait for longer. */
  hint(): void {
    if (this.shown.state === "waiting") this.connect();
    else this.probe();
  }

  stop(): void {
    if (this.shown.state === "idle" || this.shown.state === "stopped") return;
    this.client.bye();
    this.drop();
    this.free();
    this.end("goodbye", "you have left", true);
  }

  send(message: string): void {
    this.socket?.send(message);
  }

  /** See to what is the link's. */
  take(event: Event): void {
    if (event.is === "welcomed") this.up(event.name);
    else if (event.is === "bye") this.bye(event.reason, event.retryAfter);
    else if (event.is === "refused" && this.shown.state === "connecting") {
      this.notLetIn(event.code, event.text, event.retryAfter);
    }
  }

  // -- connecting ----------------------------------------------------------------------------------------

  private connect(): void {
    this.drop();
    this.attempt += 1;
    this.show({ state: "connecting", attempt: this.attempt });
    const { generation } = this;
    this.hello().then((hello) => {
      if (generation === this.generation) this.dial(hello);
    });
  }

  private dial(hello: Hello): void {
    const { generation } = this;
    const isCurrent = () => generation === this.generation;
    let opened = false;
    this.cancelTimer = this.platform.after(PATIENCE, () =>
      this.lost(opened ? "no welcome from the server" : "no answer"),
    );
    try {
      this.socket = this.platform.connect({
        opened: () => {
          opened = true;
          if (isCurrent()) this.client.connectionMade(hello);
        },
        received: (data) => {
          if (!isCurrent()) return;
          this.heardAt = this.platform.ticks();
          this.askedAt = 0;
          this.client.receive(data);
          this.storeLater();
        },
        closed: (why) => {
          if (!isCurrent()) return;
          if (opened) this.lost(why || "the connection is lost");
          else void this.refusal().then((reason) => isCurrent() && this.lost(reason));
        },
      });
    } catch (error) {
      this.lost(error instanceof Error ? error.message : "no connection is possible");
    }
  }

  /** Why the server has not taken the connection: it is full, has banned the address, or is not ready. */
  private async refusal(): Promise<string> {
    const said = await this.platform.readiness();
    if (!said || said.status === 200) return "the server does not answer";
    const line = visible(said.text.trimStart().split("\n", 1)[0]?.trim() ?? "");
    return [...line].slice(0, MOST_REASON).join("") || `the server answers with status ${said.status}`;
  }

  /**
   * One is online under a name once. A tab that has the name for itself among those of the browser takes the place of
   * whatever the server still holds under it, as that can only be its own connection before the break; another tab
   * comes in beside, under the next name, and has that one for itself from then on.
   */
  private async hello(): Promise<Hello> {
    const { generation } = this;
    const { name, password } = this.who;
    const hello = { name, secret: this.secret, password, beside: false };
    if (this.held) return { ...hello, name: this.held };
    const free = await this.platform.claim(nameKey(name)).catch(() => true);
    if (generation !== this.generation) {
      if (free) this.platform.release(nameKey(name));
      return hello;
    }
    if (free) this.held = name;
    this.isBeside = !free;
    return { ...hello, beside: !free };
  }

  private up(name: string): void {
    this.cancelTimer();
    this.upAt = this.heardAt = this.platform.ticks();
    this.attempt = 0;
    const { generation } = this;
    if (!this.held) {
      this.platform
        .claim(nameKey(name))
        .catch(() => false)
        .then((free) => {
          if (!free) return;
          if (generation === this.generation && !this.held) this.held = name;
          else this.platform.release(nameKey(name));
        });
    }
    this.show({ state: "online" });
    this.watch();
  }

  private notLetIn(code: string, text: string, retryAfter: number): void {
    if (code === "password-needed") {
      if (this.who.password && !this.platform.isPrivate) {
        this.drop();
        this.end(code, `${visible(text)}; it is not said over a connection that others can read`, false);
      } else if (!this.client.tellPassword()) this.refused(code, text);
    } else if (code === "not-stored")
      this.lost(visible(text)); // for now
    else if (code === "too-many-tries" && this.upAt)
      this.lost(visible(text), retryAfter); // many have come back
    else this.refused(code, text);
  }

  private refused(code: string, text: string): void {
    this.drop();
    if (code === "name-taken" || code === "bad-name") this.free();
    this.end(code, visible(text || code), !FINAL.has(code));
  }

  // -- the end of a connection ---------------------------------------------------------------------------

  private bye(reason: string, retryAfter: number | null): void {
    const why = BYES[reason] ?? visible(reason);
    if (reason === "replaced" && (this.platform.ticks() < this.echoUntil || !this.held)) {
      // By oneself: the hello of a connection that was given up has arrived after that of this one. Or a tab that had
      // this name before is back; one goes beside it then.
      this.lost(why);
      this.echoUntil = 0; // but once: two programs under one name must not take turns for ever
    } else if (retryAfter === null) {
      if (this.shown.state === "stopped") return;
      this.drop();
      this.end(reason, why, true);
    } else this.lost(why, retryAfter);
  }

  private lost(why: string, retryAfter = 0): void {
    const now = this.platform.ticks();
    if (this.shown.state === "online" && now - this.upAt >= SETTLED) this.ceiling = RETRY_LEAST;
    this.drop();
    this.echoUntil = now + ECHO;
    const delay = Math.min(retryAfter, MOST_RETRY_AFTER) * 1000 + this.platform.random() * this.ceiling;
    this.ceiling = Math.min(2 * this.ceiling, RETRY_MOST);
    this.cancelTimer = this.platform.after(delay, () => this.connect());
    this.show({ state: "waiting", attempt: this.attempt + 1, until: this.platform.now() + delay, why });
  }

  private end(code: string, why: string, again: boolean): void {
    this.show({ state: "stopped", code, why, again });
  }

  private drop(): void {
    this.generation += 1;
    this.cancelTimer();
    this.cancelWatch();
    this.cancelStore();
    this.cancelTimer = this.cancelWatch = this.cancelStore = () => {};
    this.askedAt = 0;
    this.socket?.close();
    this.socket = null;
    this.client.connectionLost();
  }

  /** Give the name that this tab has for itself back to the others. */
  private free(): void {
    if (this.held) this.platform.release(nameKey(this.held));
    this.held = "";
  }

  private show(shown: Shown): void {
    this.shown = shown;
    this.changed();
  }

  // -- whether the server is still there -----------------------------------------------------------------

  private probe(): void {
    if (this.shown.state !== "online" || this.askedAt) return;
    this.askForASign(PROBE);
    this.watch();
  }

  private askForASign(patience: number): void {
    this.askedAt = this.platform.ticks();
    this.sign = patience;
    this.client.ping();
  }

  private watch(): void {
    this.cancelWatch();
    const now = this.platform.ticks();
    const due = this.askedAt ? this.askedAt + this.sign : this.heardAt + SILENCE;
    this.cancelWatch = this.platform.after(Math.max(due - now, 0), () => {
      const late = this.platform.ticks() - due;
      if (this.askedAt && this.platform.ticks() >= this.askedAt + this.sign && late < SLOW_HIDDEN) {
        this.lost(`no answer within ${this.sign / 1000} s`);
        return;
      }
      // A timer that comes very late has slept with the machine, and nothing could be heard. Where the ticks sleep too, it
      // is not late, and the question is asked within the same time after waking.
      if (this.askedAt ? late >= SLOW_HIDDEN : this.platform.ticks() >= this.heardAt + SILENCE)
        this.askForASign(SIGN);
      this.watch();
    });
  }

  /** Say again, after a while, what the server could not store. */
  private storeLater(): void {
    if (this.isStoring || !this.client.outbound.wantsRetry) return;
    this.isStoring = true;
    const cancel = this.platform.after(STORE, () => {
      this.isStoring = false;
      this.client.retry();
    });
    this.cancelStore = () => {
      this.isStoring = false;
      cancel();
    };
  }
}
