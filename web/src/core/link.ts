// The link to the server: connects, and comes back when it is lost (as selchat/client/connection/link.py). It knows of the
// conversation only whether one was let in, and why not.

import type { LinkState } from "./api.ts";
import type { Client, Hello } from "./client.ts";
import type { Event } from "./events.ts";
import type { Platform, Socket } from "./platform.ts";
import { escapeControls, nameKey } from "./text.ts";

const MIN_RETRY = 500; // ms: the first ceiling of the full jitter before coming back
const MAX_RETRY = 30_000; // ms: the last
const MAX_RETRY_AFTER = 3600; // s that a server can keep one away
const STABLE_AFTER = 10_000; // ms: a connection that lives as long makes the next retry quick again
const WELCOME_TIMEOUT = 15_000; // ms to be let in
const STALE_HELLO = 60_000; // ms for which a hello that was given up may still arrive
const IDLE = 30_000; // ms without anything from the server, before it is asked for a sign
const PING_TIMEOUT = 15_000; // ms for a sign to come
const PROBE_TIMEOUT = 4_000; // ms for it when there is a reason to doubt
const STORE_RETRY = 1000; // ms before saying again what the server could not store
const MAX_REASON = 200; // characters of the server's text that are shown
const SUSPENDED = 60_000; // ms that a timer of a hidden page may be late

// The reasons of `bye` in words; what is not here is shown as it is.
const BYE_REASONS: Record<string, string> = {
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
const NEEDS_CREDENTIALS = new Set([
  "password-needed",
  "wrong-password",
  "too-many-tries",
  "name-taken",
  "bad-name",
]);

export class Link {
  status: LinkState = { state: "idle" };
  private socket: Socket | null = null;
  private credentials = { name: "", password: "" };
  private secret = "";
  isSecondTab = false; // another tab of this browser had the name, so that the server gave the next one
  private claimedName = ""; // the name that this tab has for itself among those of the browser
  private attempt = 0;
  private ceiling = MIN_RETRY;
  private onlineSince = 0; // in ticks, as all times here: when it was last up; 0: never
  private staleHelloUntil = 0;
  private receivedAt = 0;
  private pingedAt = 0; // for a sign; 0: not
  private pingTimeout = PING_TIMEOUT;
  private generation = 0; // of what is under way; what belongs to an earlier one is void
  private cancelTimer = () => {}; // of the state: to be welcome, to wait
  private cancelHeartbeat = () => {};
  private cancelStoreRetry = () => {};
  private isStoreRetryPlanned = false;

  constructor(
    private readonly platform: Platform,
    private readonly client: Client,
    private readonly onChange: () => void,
  ) {}

  /** What one wants to be called. */
  get name(): string {
    return this.credentials.name;
  }

  // -- what the chat does --------------------------------------------------------------------------------

  start(name: string, password: string, secret: string): void {
    if (nameKey(name) !== nameKey(this.credentials.name)) this.releaseName();
    this.credentials = { name, password };
    this.secret = secret;
    this.disconnect();
    this.attempt = 0;
    this.ceiling = MIN_RETRY;
    this.connect();
  }

  /** Connect now, if it waits or was stopped; where it is online, look whether it still is. */
  reconnect(): void {
    const { status: shown } = this;
    if (shown.state === "waiting" || (shown.state === "stopped" && shown.canRetry)) this.connect();
    else this.probe();
  }

  /** Something has changed around here (a network came, the page is seen again): do not wait for longer. */
  retryNow(): void {
    if (this.status.state === "waiting") this.connect();
    else this.probe();
  }

  stop(): void {
    if (this.status.state === "idle" || this.status.state === "stopped") return;
    this.client.bye();
    this.disconnect();
    this.releaseName();
    this.stopWith("goodbye", "you have left", true);
  }

  send(message: string): void {
    this.socket?.send(message);
  }

  /** See to what is the link's. */
  handle(event: Event): void {
    if (event.type === "welcomed") this.handleWelcome(event.name);
    else if (event.type === "bye") this.handleBye(event.reason, event.retryAfter);
    else if (event.type === "refused" && this.status.state === "connecting") {
      this.handleLoginError(event.code, event.text, event.retryAfter);
    }
  }

  // -- connecting ----------------------------------------------------------------------------------------

  private connect(): void {
    this.disconnect();
    this.attempt += 1;
    this.setStatus({ state: "connecting", attempt: this.attempt });
    const { generation } = this;
    this.makeHello().then((hello) => {
      if (generation === this.generation) this.open(hello);
    });
  }

  private open(hello: Hello): void {
    const { generation } = this;
    const isCurrent = () => generation === this.generation;
    let opened = false;
    this.cancelTimer = this.platform.setTimer(WELCOME_TIMEOUT, () =>
      this.scheduleRetry(opened ? "no welcome from the server" : "no answer"),
    );
    try {
      this.socket = this.platform.connect({
        opened: () => {
          opened = true;
          if (isCurrent()) this.client.connectionMade(hello);
        },
        received: (data) => {
          if (!isCurrent()) return;
          this.receivedAt = this.platform.monotonic();
          this.pingedAt = 0;
          this.client.receive(data);
          this.scheduleStoreRetry();
        },
        closed: (why) => {
          if (!isCurrent()) return;
          if (opened) this.scheduleRetry(why || "the connection is lost");
          else void this.refusalReason().then((reason) => isCurrent() && this.scheduleRetry(reason));
        },
      });
    } catch (error) {
      this.scheduleRetry(error instanceof Error ? error.message : "no connection is possible");
    }
  }

  /** Why the server has not taken the connection: it is full, has banned the address, or is not ready. */
  private async refusalReason(): Promise<string> {
    const readiness = await this.platform.readiness();
    if (!readiness || readiness.status === 200) return "the server does not answer";
    const line = escapeControls(readiness.text.trimStart().split("\n", 1)[0]?.trim() ?? "");
    return [...line].slice(0, MAX_REASON).join("") || `the server answers with status ${readiness.status}`;
  }

  /**
   * One is online under a name once. A tab that has the name for itself among those of the browser takes the place of
   * whatever the server still holds under it, as that can only be its own connection before the break; another tab
   * comes in beside, under the next name, and has that one for itself from then on.
   */
  private async makeHello(): Promise<Hello> {
    const { generation } = this;
    const { name, password } = this.credentials;
    const hello = { name, secret: this.secret, password, beside: false };
    if (this.claimedName) return { ...hello, name: this.claimedName };
    const free = await this.platform.claim(nameKey(name)).catch(() => true);
    if (generation !== this.generation) {
      if (free) this.platform.release(nameKey(name));
      return hello;
    }
    if (free) this.claimedName = name;
    this.isSecondTab = !free;
    return { ...hello, beside: !free };
  }

  private handleWelcome(name: string): void {
    this.cancelTimer();
    this.onlineSince = this.receivedAt = this.platform.monotonic();
    this.attempt = 0;
    const { generation } = this;
    if (!this.claimedName) {
      this.platform
        .claim(nameKey(name))
        .catch(() => false)
        .then((free) => {
          if (!free) return;
          if (generation === this.generation && !this.claimedName) this.claimedName = name;
          else this.platform.release(nameKey(name));
        });
    }
    this.setStatus({ state: "online" });
    this.scheduleHeartbeat();
  }

  private handleLoginError(code: string, text: string, retryAfter: number): void {
    if (code === "password-needed") {
      if (this.credentials.password && !this.platform.isSecure) {
        this.disconnect();
        this.stopWith(
          code,
          `${escapeControls(text)}; it is not said over a connection that others can read`,
          false,
        );
      } else if (!this.client.sendPassword()) this.fail(code, text);
    } else if (code === "not-stored")
      this.scheduleRetry(escapeControls(text)); // for now
    else if (code === "too-many-tries" && this.onlineSince)
      this.scheduleRetry(escapeControls(text), retryAfter); // many have come back
    else this.fail(code, text);
  }

  private fail(code: string, text: string): void {
    this.disconnect();
    if (code === "name-taken" || code === "bad-name") this.releaseName();
    this.stopWith(code, escapeControls(text || code), !NEEDS_CREDENTIALS.has(code));
  }

  // -- the end of a connection ---------------------------------------------------------------------------

  private handleBye(reason: string, retryAfter: number | null): void {
    const text = BYE_REASONS[reason] ?? escapeControls(reason);
    if (reason === "replaced" && (this.platform.monotonic() < this.staleHelloUntil || !this.claimedName)) {
      // By oneself: the hello of a connection that was given up has arrived after that of this one. Or a tab that had
      // this name before is back; one goes beside it then.
      this.scheduleRetry(text);
      this.staleHelloUntil = 0; // but once: two programs under one name must not take turns for ever
    } else if (retryAfter === null) {
      if (this.status.state === "stopped") return;
      this.disconnect();
      this.stopWith(reason, text, true);
    } else this.scheduleRetry(text, retryAfter);
  }

  private scheduleRetry(reason: string, retryAfter = 0): void {
    const now = this.platform.monotonic();
    if (this.status.state === "online" && now - this.onlineSince >= STABLE_AFTER) this.ceiling = MIN_RETRY;
    this.disconnect();
    this.staleHelloUntil = now + STALE_HELLO;
    const delay = Math.min(retryAfter, MAX_RETRY_AFTER) * 1000 + this.platform.random() * this.ceiling;
    this.ceiling = Math.min(2 * this.ceiling, MAX_RETRY);
    this.cancelTimer = this.platform.setTimer(delay, () => this.connect());
    this.setStatus({
      state: "waiting",
      attempt: this.attempt + 1,
      until: this.platform.now() + delay,
      reason: reason,
    });
  }

  private stopWith(code: string, reason: string, canRetry: boolean): void {
    this.setStatus({ state: "stopped", code, reason: reason, canRetry: canRetry });
  }

  private disconnect(): void {
    this.generation += 1;
    this.cancelTimer();
    this.cancelHeartbeat();
    this.cancelStoreRetry();
    this.cancelTimer = this.cancelHeartbeat = this.cancelStoreRetry = () => {};
    this.pingedAt = 0;
    this.socket?.close();
    this.socket = null;
    this.client.connectionLost();
  }

  /** Give the name that this tab has for itself back to the others. */
  private releaseName(): void {
    if (this.claimedName) this.platform.release(nameKey(this.claimedName));
    this.claimedName = "";
  }

  private setStatus(status: LinkState): void {
    this.status = status;
    this.onChange();
  }

  // -- whether the server is still there -----------------------------------------------------------------

  private probe(): void {
    if (this.status.state !== "online" || this.pingedAt) return;
    this.ping(PROBE_TIMEOUT);
    this.scheduleHeartbeat();
  }

  private ping(timeout: number): void {
    this.pingedAt = this.platform.monotonic();
    this.pingTimeout = timeout;
    this.client.ping();
  }

  private scheduleHeartbeat(): void {
    this.cancelHeartbeat();
    const now = this.platform.monotonic();
    const due = this.pingedAt ? this.pingedAt + this.pingTimeout : this.receivedAt + IDLE;
    this.cancelHeartbeat = this.platform.setTimer(Math.max(due - now, 0), () => {
      const late = this.platform.monotonic() - due;
      if (
        this.pingedAt &&
        this.platform.monotonic() >= this.pingedAt + this.pingTimeout &&
        late < SUSPENDED
      ) {
        this.scheduleRetry(`no answer within ${this.pingTimeout / 1000} s`);
        return;
      }
      // A timer that comes very late has slept with the machine, and nothing could be heard. Where the ticks sleep too, it
      // is not late, and the question is asked within the same time after waking.
      if (this.pingedAt ? late >= SUSPENDED : this.platform.monotonic() >= this.receivedAt + IDLE)
        this.ping(PING_TIMEOUT);
      this.scheduleHeartbeat();
    });
  }

  /** Say again, after a while, what the server could not store. */
  private scheduleStoreRetry(): void {
    if (this.isStoreRetryPlanned || !this.client.outgoing.needsRetry) return;
    this.isStoreRetryPlanned = true;
    const cancel = this.platform.setTimer(STORE_RETRY, () => {
      this.isStoreRetryPlanned = false;
      this.client.retry();
    });
    this.cancelStoreRetry = () => {
      this.isStoreRetryPlanned = false;
      cancel();
    };
  }
}
