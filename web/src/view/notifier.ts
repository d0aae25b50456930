// Notifications of the desktop, for mentions and whispers while the page is not seen. The permission is asked for only
// after a click on a button that says what for. Where they do not exist (plain http; some phones) there is no button.

import type { Conversation, Entry } from "../core/api.ts";
import { getPreference, setPreference } from "./preferences.ts";

export type NotifierState = "impossible" | "off" | "on" | "forbidden";

export class Notifier {
  #isUnusable = false; // there is the name, but it cannot be used (phones want a service worker)

  get state(): NotifierState {
    if (!("Notification" in globalThis) || !isSecureContext || this.#isUnusable) return "impossible";
    if (Notification.permission === "denied") return "forbidden";
    return Notification.permission === "granted" && getPreference("notify") === "on" ? "on" : "off";
  }

  /** After a click: ask, or stop. */
  async toggle(): Promise<void> {
    if (this.state === "on") setPreference("notify", "off");
    else if (this.state === "off" && (await Notification.requestPermission()) === "granted")
      setPreference("notify", "on");
  }

  /** `opened`: called when it is clicked. */
  notify(entry: Entry, conversation: NotificationSource, onClick: () => void): void {
    if (!document.hidden || this.state !== "on") return;
    const { title, body } = notificationText(entry, conversation);
    try {
      const notification = new Notification(title, { body, tag: `${conversation.name}:${entry.from}` });
      notification.onclick = () => {
        window.focus();
        notification.close();
        onClick();
      };
    } catch {
      this.#isUnusable = true;
    }
  }
}

type NotificationSource = Pick<Conversation, "name" | "locked">;

/**
 * What it says. Other programs, and whoever looks at a locked screen, read these: nothing that is said where something
 * is encrypted gets there, also not what is said in the clear, as who answers has read the rest.
 */
export function notificationText(
  entry: Entry,
  { name, locked }: NotificationSource,
): { title: string; body: string } {
  const title =
    entry.kind === "whisper" ? `${entry.from} whispers to you` : `${entry.from} mentions you in ${name}`;
  return {
    title,
    body: locked === "no" && entry.encryption === "no" && !entry.cipher ? entry.body.slice(0, 200) : "",
  };
}
