// The title and the icon of the page: what one sees of it from another tab.

import type { Chat } from "../core/api.ts";
import { part } from "./dom.ts";

export function updateTitle(chat: Chat, inside: boolean): void {
  const unread = inside ? chat.conversations.reduce((sum, one) => sum + one.unread, 0) : 0;
  const here = inside ? chat.conversation(chat.current) : undefined;
  const title = here ? `${here.name} - selchat` : "selchat";
  const whole = unread ? `(${unread > 999 ? "999+" : unread}) ${title}` : title;
  if (document.title !== whole) document.title = whole;
  const icon = part("icon", HTMLLinkElement);
  const alert = inside && chat.conversations.some((one) => one.mentioned && one.unread > 0);
  const wanted = icon.dataset[alert ? "alert" : "calm"] ?? "";
  if (wanted && icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
}
