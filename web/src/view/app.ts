// The view of a chat: it reads the state of the core (core/api.ts) and calls its methods.
//
// Elements that tests and scripts may use:
//   #sign-in    the sign-in form: #name, #password (hidden until the server asks for one), #join, #name-problem,
//               #password-problem, #sign-in-status
//   #chat       the chat; hidden until the user is signed in. A page that is reloaded in the same tab signs in again
//               (sessionStorage "selchat.inside"), except after "Sign out"
//   #rooms      rooms and direct messages: buttons with data-id ("#lobby", "@michael"), aria-current on the open one,
//               .unread and .unread-count
//   #people     members of the room: buttons; #people-title has the count
//   #log        the messages near the visible ones. Rows have data-kind (said, action, whisper, topic, gap, notice;
//               "membership" for joins and leaves, with data-kind "joined" and "left" inside), data-key, data-state
//               (pending, sent, failed) and data-encryption (yes, decrypting, unreadable), and contain .body, .name, time,
//               .badge, .delivery; h2.day and h2.new stand between rows. #jump-to-end goes to the newest message,
//               #loading says that older ones are loading
//   #input      the input field; #send, #input-problem, #candidates (role=option in it, aria-selected)
//   #status     the state of the connection; data-state is the state of LinkState; its button acts. It is empty and has
//               no height while the connection works
//   #conversation-name, #topic, #lock (data-locked: no, locked, unlocked)      header of the conversation
//   #lock-dialog  #passphrase, #passphrase-show, #lock-all, #lock-use, #lock-forget, #lock-cancel, #lock-problem,
//               #lock-warning
//   #menu-button, #menu; #help-dialog, #help-close (also opened by typing /help)
//   #rooms-button, #rooms-close (below 700 px), #people-button, #people-close (below 960 px)
//   #announcements  text for screen readers: a p for each new entry

import type { Change, Chat, SignIn } from "../core/api.ts";
import { quoteName } from "../core/commands.ts";
import { CLOCK_HOURS } from "../core/dates.ts";
import { plainName } from "../core/text.ts";
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
import { Sidebars } from "./sidebars.ts";
import { isSignInNeeded, SignInForm } from "./signin.ts";
import { Status } from "./status.ts";
import { updateTitle } from "./title.ts";
import { followKeyboard } from "./viewport.ts";

/** The parts that are drawn separately. */
type Part = "link" | "conversations" | "people" | "log";

const PARTS: readonly Part[] = ["link", "conversations", "people", "log"];
const HIDDEN_INTERVAL = 500; // ms between drawings of a hidden page, which gets no frames

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
  #isSignedIn: boolean | undefined; // which of the two screens is shown
  #isSignInWanted = false; // the user signed in, and has not signed out since
  #isWatching: boolean | undefined; // the value that the core has
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
      this.#sidebars.close(false); // an open sidebar keeps the focus out of the field below it
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
    document.documentElement.dataset.clock = String(CLOCK_HOURS);
    followKeyboard(this.#chatScreen);
    this.#nextDay();
    chat.subscribe((change) => this.#changed(change));
    this.#scheduleDraw(...PARTS);
    this.#draw();
    const name = getPreference("name");
    if (name && wasSignedIn()) this.#signIn({ name });
  }

  #changed(change: Change): void {
    // At once: the user may already be typing there.
    if (this.chat.current !== this.#current && this.#isSignedIn) this.#draw();
    const here = "id" in change && change.id === this.chat.current;
    switch (change.type) {
      case "link":
        this.#scheduleDraw(...PARTS);
        break;
      case "conversations":
        this.#scheduleDraw("conversations", "log");
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
      const from = plainName(entry.from);
      this.#announcer.announce(
        entry.kind === "whisper"
          ? `Direct message from ${from}`
          : `${from} mentions you in ${plainName(where.name)}`,
      );
    }
    this.#notifier.notify(entry, where, () => this.#open(id));
  }

  /** Draw these parts in the next frame, once for all changes until then. */
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
    setTimeout(draw, HIDDEN_INTERVAL); // the page may become hidden before its frame
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
    if (dirty.has("conversations")) {
      this.#conversationList.update();
      this.#updateHeader();
      this.#encryptionDialog.update();
      updateTitle(this.chat, this.#isSignedIn === true);
    }
    if (dirty.has("people") || dirty.has("conversations")) this.#people.update();
    if (dirty.has("log") && this.#isSignedIn) {
      this.#composer.update();
      this.#log.update();
    }
  }

  /** Show the sign-in form or the chat. The chat stays while the link reconnects. */
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
      if (matchMedia("(pointer: fine)").matches) this.#composer.focus(); // on a phone the keyboard would cover the chat
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
    if (where.dataset.drawn !== drawn) {
      where.dataset.drawn = drawn;
      const sign = h("span", { class: "symbol", "aria-hidden": "true" }, here?.kind === "person" ? "@" : "#");
      where.replaceChildren(...(here ? [sign, bdi(here.name)] : []));
    }
    const topic = here?.kind === "person" ? "direct messages" : preview(here?.topic ?? "");
    const element = byId("topic", HTMLElement);
    setText(element, topic);
    element.title = topic;
  }

  #open(id: string): void {
    this.#sidebars.close(false);
    if (id !== this.chat.current) {
      this.#setWatching(false); // the new conversation is read only if its own end is visible
      this.chat.open(id);
    }
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
    else this.#log.element.focus({ preventScroll: true });
  }

  /** Open the direct messages with that person, or start the first one. */
  #openDirect(name: string): void {
    const there = this.chat.conversations.find((one) => one.kind === "person" && one.name === name);
    if (there) this.#open(there.id);
    else this.#startLine(`/msg ${quoteName(name)} `);
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

  /** Run a command that concerns the page. Return whether it was one. */
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
    // The user signs in by hand then.
  }
}

/** Whether this tab was signed in when the page was reloaded. */
function wasSignedIn(): boolean {
  try {
    return sessionStorage.getItem(SIGNED_IN_KEY) !== null;
  } catch {
    return false;
  }
}
