// Title and icon of the page, for its tab.

import type { Chat } from "../core/api.ts";
import { byId } from "./dom.ts";

export function updateTitle(chat: Chat, isSignedIn: boolean): void {
  const unread = isSignedIn ? chat.conversations.reduce((sum, one) => sum + one.unread, 0) : 0;
  const here = isSignedIn ? chat.conversation(chat.current) : undefined;
  const title = here ? `${here.name} - selchat` : "selchat";
  const whole = unread ? `(${unread > 999 ? "999+" : unread}) ${title}` : title;
  if (document.title !== whole) document.title = whole;
  const icon = byId("icon", HTMLLinkElement);
  const alert = isSignedIn && chat.conversations.some((one) => one.mentions > 0);
  const href = icon.dataset[alert ? "alert" : "calm"] ?? "";
  if (href && icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}
