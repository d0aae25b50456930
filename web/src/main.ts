// Puts the core and the view together.

import { makeChat } from "./core/browser.ts";
import { App } from "./view/app.ts";

new App(makeChat());
