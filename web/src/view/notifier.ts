// Desktop notifications for mentions and direct messages while the page is hidden. The page asks for
// permission only after a click on a button that explains it. Without support (plain http; some phones) there
// is no button.

import type { Conversation, Entry } from "../core/api.ts";
import { plainName } from "../core/text.ts";
import { getPreference, setPreference } from "./preferences.ts";

export type NotifierState = "impossible" | "off" | "on" | "forbidden";

export class Notifier {
  #isUnusable = false; // the class exists, but phones need a service worker

  get state(): NotifierState {
    if (!("Notification" in globalThis) || !isSecureContext || this.#isUnusable) return "impossible";
    if (Notification.permission === "denied") return "forbidden";
    return Notification.permission === "granted" && getPreference("notify") === "on" ? "on" : "off";
  }

  /** Ask for permission and turn notifications on, or turn them off. */
  async toggle(): Promise<void> {
    if (this.state === "on") setPreference("notify", "off");
    else if (this.state === "off" && (await Notification.requestPermission()) === "granted")
      setPreference("notify", "on");
  }

  /** Notify if the page is hidden. `onClick` is called after a click on the notification. */
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
 * Return the text of a notification. Other programs, and people who see a locked screen, can read it: so it
 * has no text of an encrypted conversation, not even of unencrypted messages there, which may quote encrypted
 * ones.
 */
export function notificationText(
  entry: Entry,
  { name, locked }: NotificationSource,
): { title: string; body: string } {
  const title =
    entry.kind === "whisper"
      ? `Direct message from ${plainName(entry.from)}`
      : `${plainName(entry.from)} mentions you in ${plainName(name)}`;
  return {
    title,
    body: locked === "no" && entry.encryption === "no" && !entry.cipher ? entry.body.slice(0, 200) : "",
  };
}
