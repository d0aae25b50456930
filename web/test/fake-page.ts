// The page with a fake chat, for manual tests: `chat` in the console is the fake. The query string sets its
// options: ?entries=10000&people=1000&live=1&password=tea

import { App } from "../src/view/app.ts";
import { Fake } from "./fake.ts";

const asked = new URLSearchParams(location.search);
const number = (name: string): Record<string, number> =>
  asked.has(name) ? { [name]: Number(asked.get(name)) } : {};
const chat = new Fake({
  ...number("entries"),
  ...number("people"),
  ...number("ackAfter"),
  live: asked.has("live"),
  password: asked.get("password") ?? "",
});
Object.assign(globalThis, { chat, app: new App(chat) });
