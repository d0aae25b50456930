// Link to the server: connects, and reconnects when the connection is lost (as in
// selchat/client/connection/link.py). Of the chat it knows only whether the server accepted the user, and why
// not.

import type { LinkState } from "./api.ts";
import type { Client, Hello } from "./client.ts";
import { futureTime } from "./dates.ts";
import type { Event } from "./events.ts";
import type { Platform, Socket } from "./platform.ts";
import { escapeControls, nameKey } from "./text.ts";

const MIN_RETRY = 500; // ms: first upper bound of the random delay before a reconnect
const MAX_RETRY = 30_000; // ms: last upper bound
const MAX_RETRY_AFTER = 3600; // s that a server can make the client wait
const STABLE_AFTER = 10_000; // ms: after a connection that lasted this long, the next delay is short again
const WELCOME_TIMEOUT = 15_000; // ms from connecting to the welcome
const STALE_HELLO = 60_000; // ms for which an abandoned hello may still arrive
const IDLE = 30_000; // ms without traffic before a ping
const PING_TIMEOUT = 15_000; // ms to wait for an answer to a ping
const PROBE_TIMEOUT = 4_000; // ms to wait for it when the connection is in doubt
const STORE_RETRY = 1000; // ms before sending again after a storage failure of the server
const MAX_REASON = 200; // characters of the server's text to show
const SUSPENDED = 60_000; // ms by which a timer of a hidden page may be late

// The reasons of `bye` in words. The page shows other reasons as received.
const BYE_REASONS: Record<string, string> = {
  goodbye: "you signed out",
  shutdown: "the server is shutting down",
  kicked: "the operator has removed you",
  banned: "the operator has banned you",
  replaced: "you signed in from another window",
  timeout: "the server waited too long for an answer from this page",
  protocol: "the server does not understand this page. Reload it",
  full: "the server is full",
};

// The user must give another name or password: the same one would fail again.
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
  isSecondTab = false; // another tab of this browser uses the name, so the server gave the next free one
  private claimedName = ""; // the name that this tab claimed in this browser; "": none
  private attempt = 0;
  private ceiling = MIN_RETRY;
  private onlineSince = 0; // monotonic ms, as all times here; 0: never online
  private staleHelloUntil = 0;
  private receivedAt = 0;
  private pingedAt = 0; // 0: no ping is out
  private pingTimeout = PING_TIMEOUT;
  private generation = 0; // number of the present attempt: callbacks of earlier ones are ignored
  private cancelTimer = () => {}; // cancels the timer of the present state
  private cancelHeartbeat = () => {};
  private cancelStoreRetry = () => {};
  private isStoreRetryPlanned = false;

  constructor(
    private readonly platform: Platform,
    private readonly client: Client,
    private readonly onChange: () => void,
  ) {}

  /** The name that the user wants. */
  get name(): string {
    return this.credentials.name;
  }

  // -- actions of the chat -------------------------------------------------------------------------------

  start(name: string, password: string, secret: string): void {
    if (nameKey(name) !== nameKey(this.credentials.name)) this.releaseName();
    this.credentials = { name, password };
    this.secret = secret;
    this.disconnect();
    this.attempt = 0;
    this.ceiling = MIN_RETRY;
    this.connect();
  }

  /** Connect now if waiting or stopped. If online, check the connection. */
  reconnect(): void {
    const { status: shown } = this;
    if (shown.state === "waiting" || (shown.state === "stopped" && shown.canRetry)) this.connect();
    else this.probe();
  }

  /** The environment changed (a network appeared, the page is visible again): do not wait any longer. */
  retryNow(): void {
    if (this.status.state === "waiting") this.connect();
    else this.probe();
  }

  stop(): void {
    if (this.status.state === "idle" || this.status.state === "stopped") return;
    this.client.bye();
    this.disconnect();
    this.releaseName();
    this.stopWith("goodbye", "you signed out", true);
  }

  send(message: string): void {
    this.socket?.send(message);
  }

  /** Handle the events that concern the connection. */
  handle(event: Event): void {
    if (event.type === "welcomed") this.handleWelcome(event.name);
    else if (event.type === "bye") this.handleBye(event.reason, event.retryAfter, event.until);
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
      this.scheduleRetry(opened ? "the server sent no welcome" : "the server does not answer"),
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
        closed: (reason) => {
          if (!isCurrent()) return;
          if (opened) this.scheduleRetry(reason || "the connection was lost");
          else void this.refusalReason().then((reason) => isCurrent() && this.scheduleRetry(reason));
        },
      });
    } catch (error) {
      this.scheduleRetry(error instanceof Error ? error.message : "the browser cannot connect");
    }
  }

  /** Return why the server refused the connection: it is full, banned this address, or is not ready. */
  private async refusalReason(): Promise<string> {
    const readiness = await this.platform.readiness();
    if (!readiness || readiness.status === 200) return "the server does not answer";
    const line = escapeControls(readiness.text.trimStart().split("\n", 1)[0]?.trim() ?? "");
    return (
      [...line].slice(0, MAX_REASON).join("") || `the server answered with HTTP status ${readiness.status}`
    );
  }

  /**
   * A name has one connection at a time. A tab that claimed the name in this browser replaces the server's
   * connection of that name, which can only be the tab's own from before a break. Any other tab signs in
   * under the next free name, and claims that one.
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
          `${escapeControls(text)}; others can read this connection, so the page does not send it. Open the page with https`,
          false,
        );
      } else if (!this.client.sendPassword()) this.fail(code, text);
    } else if (code === "not-stored")
      this.scheduleRetry(escapeControls(text)); // temporary
    else if (code === "too-many-tries" && this.onlineSince)
      this.scheduleRetry(escapeControls(text), retryAfter); // many clients are reconnecting at once
    else this.fail(code, text);
  }

  private fail(code: string, text: string): void {
    this.disconnect();
    if (code === "name-taken" || code === "bad-name") this.releaseName();
    this.stopWith(code, escapeControls(text || code), !NEEDS_CREDENTIALS.has(code));
  }

  // -- end of a connection -------------------------------------------------------------------------------

  private handleBye(reason: string, retryAfter: number | null, until: number | null): void {
    const end = until === null ? "" : ` until ${futureTime(until, this.platform.now() / 1000)}`;
    const text = `${BYE_REASONS[reason] ?? escapeControls(reason)}${end}`;
    if (reason === "replaced" && (this.platform.monotonic() < this.staleHelloUntil || !this.claimedName)) {
      // This tab replaced itself: the hello of an abandoned connection arrived after the one of this
      // connection. Or a tab that had this name before is back: then take the next free name.
      this.scheduleRetry(text);
      this.staleHelloUntil = 0; // only once: two programs with one name must not replace each other for ever
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

  /** Release the name that this tab claimed. */
  private releaseName(): void {
    if (this.claimedName) this.platform.release(nameKey(this.claimedName));
    this.claimedName = "";
  }

  private setStatus(status: LinkState): void {
    this.status = status;
    this.onChange();
  }

  // -- heartbeat -----------------------------------------------------------------------------------------

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
        this.scheduleRetry(`the server did not answer within ${this.pingTimeout / 1000} seconds`);
        return;
      }
      // A timer that fires very late was suspended with the machine, and received nothing. Where the clock is
      // suspended too, the timer is not late, and the ping follows within the same time after the wake-up.
      if (this.pingedAt ? late >= SUSPENDED : this.platform.monotonic() >= this.receivedAt + IDLE)
        this.ping(PING_TIMEOUT);
      this.scheduleHeartbeat();
    });
  }

  /** Send again later what the server could not store. */
  private scheduleStoreRetry(): void {
    if (this.isStoreRetryPlanned || !this.client.outbox.needsRetry) return;
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
