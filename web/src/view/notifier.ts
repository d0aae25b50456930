// Notifications of the desktop, for mentions and whispers while the page is not seen. The permission is asked for only
// after a click on a button that says what for. Where they do not exist (plain http; some phones) there is no button.

import type { Conversation, Entry } from "../core/api.ts";
import { remember, remembered } from "./store.ts";

export type Wanted = "impossible" | "off" | "on" | "forbidden";

export class Notifier {
  #broken = false; // there is the name, but it cannot be used (phones want a service worker)

  get state(): Wanted {
    if (!("Notification" in globalThis) || !isSecureContext || this.#broken) return "impossible";
    if (Notification.permission === "denied") return "forbidden";
    return Notification.permission === "granted" && remembered("notify") === "on" ? "on" : "off";
  }

  /** After a click: ask, or stop. */
  async toggle(): Promise<void> {
    if (this.state === "on") remember("notify", "off");
    else if (this.state === "off" && (await Notification.requestPermission()) === "granted")
      remember("notify", "on");
  }

  /** `opened`: called when it is clicked. */
  notify(entry: Entry, where: Where, opened: () => void): void {
    if (!document.hidden || this.state !== "on") return;
    const { title, body } = wording(entry, where);
    try {
      const shown = new Notification(title, { body, tag: `${where.name}:${entry.from}` });
      shown.onclick = () => {
        window.focus();
        shown.close();
        opened();
      };
    } catch {
      this.#broken = true;
    }
  }
}

type Where = Pick<Conversation, "name" | "locked">;

/**
 * What it says. Other programs, and whoever looks at a locked screen, read these: nothing that is said where something
 * is encrypted gets there, also not what is said in the clear, as who answers has read the rest.
 */
export function wording(entry: Entry, { name, locked }: Where): { title: string; body: string } {
  const title =
    entry.kind === "whisper" ? `${entry.from} whispers to you` : `${entry.from} mentions you in ${name}`;
  return {
    title,
    body: locked === "no" && entry.sealed === "no" && !entry.cipher ? entry.body.slice(0, 200) : "",
  };
}
