// The view: everything that is seen of a chat. It reads the state of the core (core/api.ts) and calls its methods.
//
// What tests and scripts may hold on to:
//   #entrance   the way in: #name, #password (hidden until the server wants one), #join, #name-problem,
//               #password-problem, #entry-status
//   #chat       the chat; hidden while one is outside. A page that is loaded again in the same tab goes in by itself
//               (sessionStorage "selchat.inside"); after "Leave the chat" it does not
//   #rooms      rooms and people one whispers with: buttons with data-id ("#lobby", "@michael"), aria-current on the
//               one that is looked at, .unread and .count
//   #people     who is here: buttons; #people-title has the count
//   #log        the messages near what is seen. Rows have data-kind (said, action, whisper, topic, gap, notice; "moves"
//               for those who came and went, with data-kind "joined" and "left" inside), data-key, data-state (pending,
//               sent, failed) and data-sealed (yes, opening, unreadable); h2.day and h2.new stand between them;
//               .body, .name, time, .mark, .fate in them. #to-end goes to the newest, #loading says that older ones come
//   #input      what one writes; #send, #input-problem, #candidates (role=option in it, aria-selected)
//   #status     the connection in words; data-state is that of Link; its button acts. While all is well it is empty and
//               has no height
//   #where, #topic, #lock (data-locked: no, locked, open)      the head of the conversation
//   #lock-dialog  #passphrase, #passphrase-show, #lock-all, #lock-use, #lock-forget, #lock-cancel, #lock-problem
//   #menu-button, #menu; #help-dialog, #help-close (also by typing /help)
//   #rooms-button, #rooms-close (below 700 px), #people-button, #people-close (below 960 px)
//   #spoken     what is read out: a p for each new entry

import type { Change, Chat, Start } from "../core/api.ts";
import { Announcer } from "./announcer.ts";
import { beginning } from "./body.ts";
import { Composer } from "./composer.ts";
import { bdi, h, part, say } from "./dom.ts";
import { Drawers } from "./drawers.ts";
import { Entrance, outside } from "./entrance.ts";
import { Help } from "./help.ts";
import { icon } from "./icons.ts";
import { Lock } from "./lock.ts";
import { Log } from "./log.ts";
import { Menu } from "./menu.ts";
import { Notifier } from "./notifier.ts";
import { People } from "./people.ts";
import { Places } from "./places.ts";
import { isolated } from "./rows.ts";
import { Status } from "./status.ts";
import { remembered } from "./store.ts";
import { updateTitle } from "./title.ts";
import { followKeyboard } from "./viewport.ts";

/** What is drawn again on its own. */
type Part = "link" | "places" | "people" | "log";

const PARTS: readonly Part[] = ["link", "places", "people", "log"];
const HIDDEN_PACE = 500; // ms between drawings while nobody sees the page, where there are no frames

export class App {
  readonly #entrance: Entrance;
  readonly #status: Status;
  readonly #places: Places;
  readonly #people: People;
  readonly #log: Log;
  readonly #composer: Composer;
  readonly #lock: Lock;
  readonly #menu: Menu;
  readonly #help: Help;
  readonly #drawers = new Drawers();
  readonly #notifier = new Notifier();
  readonly #announcer = new Announcer(part("spoken", HTMLElement));
  readonly #outer = part("entrance", HTMLElement);
  readonly #inner = part("chat", HTMLElement);
  #inside: boolean | undefined; // which of the two is shown
  #wanted = false; // to be in the chat: a name was given, and one has not left since
  #watched: boolean | undefined; // what the core was told last
  #current = "";
  #dirty = new Set<Part>();
  #planned = false;

  constructor(private readonly chat: Chat) {
    const unlock = (): void => this.#lock.open();
    this.#entrance = new Entrance(chat, (how) => this.#enter(how));
    this.#status = new Status(chat, () => this.#leave());
    this.#lock = new Lock(chat);
    this.#help = new Help(chat);
    this.#log = new Log(chat, unlock, () => this.#watch());
    this.#composer = new Composer(
      chat,
      () => this.#log.toEnd(),
      (line) => this.#command(line),
      (event) => this.#log.key(event),
      (text) => this.#announcer.say(text),
    );
    this.#places = new Places(
      chat,
      (id) => this.#open(id),
      (text) => this.#begin(text),
    );
    this.#people = new People(chat, (name) => this.#whisper(name));
    this.#menu = new Menu(
      chat,
      this.#notifier,
      () => this.#help.open(),
      () => this.#leave(),
    );
    for (const [id, drawing] of [
      ["rooms-button", "menu"],
      ["rooms-close", "close"],
      ["people-close", "close"],
      ["send", "send"],
    ] as const)
      part(id, HTMLElement).append(icon(drawing));
    part("skip", HTMLElement).addEventListener("click", (event) => {
      event.preventDefault();
      this.#drawers.close(false); // what is under one takes no focus
      this.#composer.focus();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => {
      if (this.chat.waiting) event.preventDefault(); // the browser asks whether to leave
    });
    document.addEventListener("visibilitychange", () => {
      this.#plan(...PARTS);
      if (!document.hidden && this.#inside) this.#log.returned();
      this.#watch();
    });
    followKeyboard(this.#inner);
    this.#nextDay();
    chat.subscribe((change) => this.#changed(change));
    this.#plan(...PARTS);
    this.#draw();
    const name = remembered("name");
    if (name && wasInside()) this.#enter({ name });
  }

  #changed(change: Change): void {
    if (this.chat.current !== this.#current && this.#inside) this.#draw(); // at once: what is typed now belongs there
    const here = "id" in change && change.id === this.chat.current;
    switch (change.what) {
      case "link":
        this.#plan(...PARTS);
        break;
      case "conversations":
        this.#plan("places", "log");
        break;
      case "people":
        if (here) this.#plan("people");
        break;
      case "added":
        if (!here) break;
        this.#log.note(change);
        this.#announcer.entries(change.entries);
        this.#plan("log");
        break;
      case "changed":
        if (!here) break;
        this.#announcer.changed(change.entry);
        this.#plan("log");
        break;
      case "reset":
        if (here) this.#plan("log");
        break;
      case "alert":
        this.#alert(change);
        break;
    }
  }

  #alert({ id, entry }: Change & { what: "alert" }): void {
    const where = this.chat.conversation(id);
    if (!where) return;
    if (id !== this.chat.current) {
      const from = isolated(entry.from);
      this.#announcer.say(
        entry.kind === "whisper"
          ? `${from} whispers to you`
          : `${from} mentions you in ${isolated(where.name)}`,
      );
    }
    this.#notifier.notify(entry, where, () => this.#open(id));
  }

  /** Draw these at the next frame, once for everything that comes until then. */
  #plan(...parts: Part[]): void {
    for (const one of parts) this.#dirty.add(one);
    if (this.#planned) return;
    this.#planned = true;
    const draw = (): void => {
      if (!this.#planned) return;
      this.#planned = false;
      this.#draw();
    };
    if (!document.hidden) requestAnimationFrame(draw);
    setTimeout(draw, HIDDEN_PACE); // also for a page that is hidden before its frame comes
  }

  #draw(): void {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    if (dirty.has("link")) {
      this.#cross();
      this.#entrance.update(this.#wanted);
      this.#status.update();
      this.#menu.update();
      say(part("server", HTMLElement), this.chat.server || "selchat");
    }
    if (this.chat.current !== this.#current) {
      this.#current = this.chat.current;
      this.#announcer.hush();
      for (const one of PARTS) dirty.add(one);
    }
    if (dirty.has("places")) {
      this.#places.update();
      this.#head();
      this.#lock.update();
      updateTitle(this.chat, this.#inside === true);
    }
    if (dirty.has("people") || dirty.has("places")) this.#people.update();
    if (dirty.has("log") && this.#inside) {
      this.#composer.update();
      this.#log.update();
    }
  }

  /** Go in or out, where the link says so. A link that is lost leaves one inside. */
  #cross(): void {
    const { link } = this.chat;
    const inside =
      !this.#wanted || outside(link) ? false : link.state === "online" ? true : (this.#inside ?? false);
    if (inside === this.#inside) return;
    this.#inside = inside;
    this.#outer.hidden = inside;
    this.#inner.hidden = !inside;
    if (inside) {
      keepInside(true);
      for (const one of PARTS) this.#dirty.add(one);
      if (matchMedia("(pointer: fine)").matches) this.#composer.focus(); // a phone's keyboard would hide the chat
    } else {
      this.#drawers.close(false);
      for (const open of document.querySelectorAll<HTMLDialogElement>("dialog[open]")) open.close();
      this.#entrance.focus();
    }
  }

  #head(): void {
    const here = this.chat.conversation(this.chat.current);
    const where = part("where", HTMLElement);
    const looks = here ? `${here.id} ${here.name}` : "";
    if (where.dataset.looks !== looks) {
      where.dataset.looks = looks;
      const sign = h("span", { class: "sign", "aria-hidden": "true" }, here?.kind === "person" ? "@" : "#");
      where.replaceChildren(...(here ? [sign, bdi(here.name)] : []));
    }
    const topic = here?.kind === "person" ? "whispers" : beginning(here?.topic ?? "");
    const element = part("topic", HTMLElement);
    say(element, topic);
    element.title = topic;
  }

  #open(id: string): void {
    this.#drawers.close(false);
    if (id !== this.chat.current) {
      this.#tell(false); // where its end is in sight it is read, and not because that of the other one was
      this.chat.open(id);
    }
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
    else this.#log.element.focus({ preventScroll: true });
  }

  /** Open what one has whispered with somebody, or begin to. */
  #whisper(name: string): void {
    const there = this.chat.conversations.find((one) => one.kind === "person" && one.name === name);
    if (there) this.#open(there.id);
    else this.#begin(/[\s"]/.test(name) ? `/msg "${name}" ` : `/msg ${name} `);
  }

  #begin(line: string): void {
    this.#drawers.close(false);
    this.#composer.begin(line);
  }

  #enter(how: Start): void {
    this.#wanted = true;
    this.chat.start(how);
  }

  #leave(): void {
    this.#wanted = false;
    keepInside(false);
    this.chat.stop();
    this.#plan(...PARTS);
  }

  /** Commands that are about the page. */
  #command(line: string): boolean {
    const word = line.trim().toLowerCase();
    if (word === "/help") this.#help.open();
    else if (word === "/quit") this.#leave();
    else return false;
    return true;
  }

  #key(event: KeyboardEvent): void {
    const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (!by || !event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !this.#inside) return;
    if (document.querySelector("dialog[open]")) return;
    const { conversations, current } = this.chat;
    const next = conversations[conversations.findIndex(({ id }) => id === current) + by];
    event.preventDefault();
    if (next) this.#open(next.id);
  }

  #watch(): void {
    this.#tell(!document.hidden && this.#inside === true && this.#log.atEnd);
  }

  #tell(seen: boolean): void {
    if (seen !== this.#watched) this.chat.watching(seen);
    this.#watched = seen;
  }

  #nextDay(): void {
    const now = new Date();
    const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1);
    setTimeout(
      () => {
        this.#log.newDay();
        this.#nextDay();
      },
      midnight.getTime() - now.getTime() + 500,
    );
  }
}

const INSIDE = "selchat.inside";

function keepInside(inside: boolean): void {
  try {
    if (inside) sessionStorage.setItem(INSIDE, "1");
    else sessionStorage.removeItem(INSIDE);
  } catch {
    // then one says one's name again
  }
}

/** Whether this tab was in the chat when the page was loaded again. */
function wasInside(): boolean {
  try {
    return sessionStorage.getItem(INSIDE) !== null;
  } catch {
    return false;
  }
}
