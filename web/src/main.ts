// Puts the core and the view together.

import { makeChat } from "./core/browser.ts";
import { App } from "./view/app.ts";

new App(makeChat());
document.getElementById("load-problem")?.remove(); // without this script, it appears after some seconds
