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
//   #log        the messages near what is seen. Rows have data-kind (said, action, whisper, topic, gap, notice; "membership"
//               for those who came and went, with data-kind "joined" and "left" inside), data-key, data-state (pending,
//               sent, failed) and data-encryption (yes, opening, unreadable); h2.day and h2.new stand between them;
//               .body, .name, time, .mark, .fate in them. #to-end goes to the newest, #loading says that older ones come
//   #input      what one writes; #send, #input-problem, #candidates (role=option in it, aria-selected)
//   #status     the connection in words; data-state is that of Link; its button acts. While all is well it is empty and
//               has no height
//   #where, #topic, #lock (data-locked: no, locked, open)      the head of the conversation
//   #lock-dialog  #passphrase, #passphrase-show, #lock-all, #lock-use, #lock-forget, #lock-cancel, #lock-problem
//   #menu-button, #menu; #help-dialog, #help-close (also by typing /help)
//   #rooms-button, #rooms-close (below 700 px), #people-button, #people-close (below 960 px)
//   #spoken     what is read out: a p for each new entry

import type { Change, Chat, SignIn } from "../core/api.ts";
import { Announcer } from "./announcer.ts";
import { preview } from "./body.ts";
import { Composer } from "./composer.ts";
import { ConversationList } from "./conversation-list.ts";
import { bdi, byId, h, setText } from "./dom.ts";
import { EncryptionDialog } from "./encryption-dialog.ts";
import { Help } from "./help.ts";
import { icon } from "./icons.ts";
import { Menu } from "./menu.ts";
import { MessageLog } from "./message-log.ts";
import { Notifier } from "./notifier.ts";
import { People } from "./people.ts";
import { getPreference } from "./preferences.ts";
import { isolate } from "./rows.ts";
import { Sidebars } from "./sidebars.ts";
import { isSignInNeeded, SignInForm } from "./signin.ts";
import { Status } from "./status.ts";
import { updateTitle } from "./title.ts";
import { followKeyboard } from "./viewport.ts";

/** What is drawn again on its own. */
type Part = "link" | "places" | "people" | "log";

const PARTS: readonly Part[] = ["link", "places", "people", "log"];
const HIDDEN_INTERVAL = 500; // ms between drawings while nobody sees the page, where there are no frames

export class App {
  readonly #signInForm: SignInForm;
  readonly #status: Status;
  readonly #conversationList: ConversationList;
  readonly #people: People;
  readonly #log: MessageLog;
  readonly #composer: Composer;
  readonly #encryptionDialog: EncryptionDialog;
  readonly #menu: Menu;
  readonly #help: Help;
  readonly #sidebars = new Sidebars();
  readonly #notifier = new Notifier();
  readonly #announcer = new Announcer(byId("announcements", HTMLElement));
  readonly #signInScreen = byId("sign-in", HTMLElement);
  readonly #chatScreen = byId("chat", HTMLElement);
  #isSignedIn: boolean | undefined; // which of the two is shown
  #isSignInWanted = false; // to be in the chat: a name was given, and one has not left since
  #isWatching: boolean | undefined; // what the core was told last
  #current = "";
  #dirtyParts = new Set<Part>();
  #isDrawPlanned = false;

  constructor(private readonly chat: Chat) {
    const unlock = (): void => this.#encryptionDialog.open();
    this.#signInForm = new SignInForm(chat, (how) => this.#signIn(how));
    this.#status = new Status(chat, () => this.#signOut());
    this.#encryptionDialog = new EncryptionDialog(chat);
    this.#help = new Help(chat);
    this.#log = new MessageLog(chat, unlock, () => this.#updateWatching());
    this.#composer = new Composer(
      chat,
      () => this.#log.toEnd(),
      (line) => this.#command(line),
      (event) => this.#log.handleScrollKey(event),
      (text) => this.#announcer.announce(text),
    );
    this.#conversationList = new ConversationList(
      chat,
      (id) => this.#open(id),
      (text) => this.#startLine(text),
    );
    this.#people = new People(chat, (name) => this.#openDirect(name));
    this.#menu = new Menu(
      chat,
      this.#notifier,
      () => this.#help.open(),
      () => this.#signOut(),
    );
    for (const [id, drawing] of [
      ["rooms-button", "menu"],
      ["rooms-close", "close"],
      ["people-close", "close"],
      ["send", "send"],
    ] as const)
      byId(id, HTMLElement).append(icon(drawing));
    byId("skip", HTMLElement).addEventListener("click", (event) => {
      event.preventDefault();
      this.#sidebars.close(false); // what is under one takes no focus
      this.#composer.focus();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => {
      if (this.chat.unsentCount) event.preventDefault(); // the browser asks whether to leave
    });
    document.addEventListener("visibilitychange", () => {
      this.#scheduleDraw(...PARTS);
      if (!document.hidden && this.#isSignedIn) this.#log.pageShown();
      this.#updateWatching();
    });
    followKeyboard(this.#chatScreen);
    this.#nextDay();
    chat.subscribe((change) => this.#changed(change));
    this.#scheduleDraw(...PARTS);
    this.#draw();
    const name = getPreference("name");
    if (name && wasSignedIn()) this.#signIn({ name });
  }

  #changed(change: Change): void {
    if (this.chat.current !== this.#current && this.#isSignedIn) this.#draw(); // at once: what is typed now belongs there
    const here = "id" in change && change.id === this.chat.current;
    switch (change.type) {
      case "link":
        this.#scheduleDraw(...PARTS);
        break;
      case "conversations":
        this.#scheduleDraw("places", "log");
        break;
      case "people":
        if (here) this.#scheduleDraw("people");
        break;
      case "added":
        if (!here) break;
        this.#log.countNew(change);
        this.#announcer.announceEntries(change.entries);
        this.#scheduleDraw("log");
        break;
      case "changed":
        if (!here) break;
        this.#announcer.announceChange(change.entry);
        this.#scheduleDraw("log");
        break;
      case "reset":
        if (here) this.#scheduleDraw("log");
        break;
      case "alert":
        this.#alert(change);
        break;
    }
  }

  #alert({ id, entry }: Change & { type: "alert" }): void {
    const where = this.chat.conversation(id);
    if (!where) return;
    if (id !== this.chat.current) {
      const from = isolate(entry.from);
      this.#announcer.announce(
        entry.kind === "whisper"
          ? `${from} whispers to you`
          : `${from} mentions you in ${isolate(where.name)}`,
      );
    }
    this.#notifier.notify(entry, where, () => this.#open(id));
  }

  /** Draw these at the next frame, once for everything that comes until then. */
  #scheduleDraw(...parts: Part[]): void {
    for (const one of parts) this.#dirtyParts.add(one);
    if (this.#isDrawPlanned) return;
    this.#isDrawPlanned = true;
    const draw = (): void => {
      if (!this.#isDrawPlanned) return;
      this.#isDrawPlanned = false;
      this.#draw();
    };
    if (!document.hidden) requestAnimationFrame(draw);
    setTimeout(draw, HIDDEN_INTERVAL); // also for a page that is hidden before its frame comes
  }

  #draw(): void {
    const dirty = this.#dirtyParts;
    this.#dirtyParts = new Set();
    if (dirty.has("link")) {
      this.#showScreen();
      this.#signInForm.update(this.#isSignInWanted);
      this.#status.update();
      this.#menu.update();
      setText(byId("server", HTMLElement), this.chat.server || "selchat");
    }
    if (this.chat.current !== this.#current) {
      this.#current = this.chat.current;
      this.#announcer.clear();
      for (const one of PARTS) dirty.add(one);
    }
    if (dirty.has("places")) {
      this.#conversationList.update();
      this.#updateHeader();
      this.#encryptionDialog.update();
      updateTitle(this.chat, this.#isSignedIn === true);
    }
    if (dirty.has("people") || dirty.has("places")) this.#people.update();
    if (dirty.has("log") && this.#isSignedIn) {
      this.#composer.update();
      this.#log.update();
    }
  }

  /** Go in or out, where the link says so. A link that is lost leaves one inside. */
  #showScreen(): void {
    const { link } = this.chat;
    const isSignedIn =
      !this.#isSignInWanted || isSignInNeeded(link)
        ? false
        : link.state === "online"
          ? true
          : (this.#isSignedIn ?? false);
    if (isSignedIn === this.#isSignedIn) return;
    this.#isSignedIn = isSignedIn;
    this.#signInScreen.hidden = isSignedIn;
    this.#chatScreen.hidden = !isSignedIn;
    if (isSignedIn) {
      saveSignedIn(true);
      for (const one of PARTS) this.#dirtyParts.add(one);
      if (matchMedia("(pointer: fine)").matches) this.#composer.focus(); // a phone's keyboard would hide the chat
    } else {
      this.#sidebars.close(false);
      for (const open of document.querySelectorAll<HTMLDialogElement>("dialog[open]")) open.close();
      this.#signInForm.focus();
    }
  }

  #updateHeader(): void {
    const here = this.chat.conversation(this.chat.current);
    const where = byId("conversation-name", HTMLElement);
    const drawn = here ? `${here.id} ${here.name}` : "";
    if (where.dataset.looks !== drawn) {
      where.dataset.looks = drawn;
      const sign = h("span", { class: "symbol", "aria-hidden": "true" }, here?.kind === "person" ? "@" : "#");
      where.replaceChildren(...(here ? [sign, bdi(here.name)] : []));
    }
    const topic = here?.kind === "person" ? "whispers" : preview(here?.topic ?? "");
    const element = byId("topic", HTMLElement);
    setText(element, topic);
    element.title = topic;
  }

  #open(id: string): void {
    this.#sidebars.close(false);
    if (id !== this.chat.current) {
      this.#setWatching(false); // where its end is in sight it is read, and not because that of the other one was
      this.chat.open(id);
    }
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
    else this.#log.element.focus({ preventScroll: true });
  }

  /** Open what one has whispered with somebody, or begin to. */
  #openDirect(name: string): void {
    const there = this.chat.conversations.find((one) => one.kind === "person" && one.name === name);
    if (there) this.#open(there.id);
    else this.#startLine(/[\s"]/.test(name) ? `/msg "${name}" ` : `/msg ${name} `);
  }

  #startLine(line: string): void {
    this.#sidebars.close(false);
    this.#composer.startLine(line);
  }

  #signIn(how: SignIn): void {
    this.#isSignInWanted = true;
    this.chat.start(how);
  }

  #signOut(): void {
    this.#isSignInWanted = false;
    saveSignedIn(false);
    this.chat.stop();
    this.#scheduleDraw(...PARTS);
  }

  /** Commands that are about the page. */
  #command(line: string): boolean {
    const word = line.trim().toLowerCase();
    if (word === "/help") this.#help.open();
    else if (word === "/quit") this.#signOut();
    else return false;
    return true;
  }

  #key(event: KeyboardEvent): void {
    const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (!by || !event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !this.#isSignedIn) return;
    if (document.querySelector("dialog[open]")) return;
    const { conversations, current } = this.chat;
    const next = conversations[conversations.findIndex(({ id }) => id === current) + by];
    event.preventDefault();
    if (next) this.#open(next.id);
  }

  #updateWatching(): void {
    this.#setWatching(!document.hidden && this.#isSignedIn === true && this.#log.atEnd);
  }

  #setWatching(seen: boolean): void {
    if (seen !== this.#isWatching) this.chat.setWatching(seen);
    this.#isWatching = seen;
  }

  #nextDay(): void {
    const now = new Date();
    const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1);
    setTimeout(
      () => {
        this.#log.redrawDates();
        this.#nextDay();
      },
      midnight.getTime() - now.getTime() + 500,
    );
  }
}

const SIGNED_IN_KEY = "selchat.inside";

function saveSignedIn(inside: boolean): void {
  try {
    if (inside) sessionStorage.setItem(SIGNED_IN_KEY, "1");
    else sessionStorage.removeItem(SIGNED_IN_KEY);
  } catch {
    // then one says one's name again
  }
}

/** Whether this tab was in the chat when the page was loaded again. */
function wasSignedIn(): boolean {
  try {
    return sessionStorage.getItem(SIGNED_IN_KEY) !== null;
  } catch {
    return false;
  }
}
