// Makes the page with a fake chat (fake.ts) in a folder, for looking at the view without a server:
//   node test/page.mjs FOLDER      then serve that folder, e.g. python3 -m http.server -d FOLDER
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = process.argv[2];
if (!folder) throw new Error("usage: node test/page.mjs FOLDER");
mkdirSync(folder, { recursive: true });
await build({
  entryPoints: { app: join(web, "test", "fake-page.ts"), style: join(web, "src", "style.css") },
  outdir: folder,
  bundle: true,
  target: "es2022",
  logLevel: "warning",
});
cpSync(join(web, "index.html"), join(folder, "index.html"));
for (const name of readdirSync(join(web, "src")).filter((name) => /\.(svg|png|webmanifest)$/.test(name)))
  cpSync(join(web, "src", name), join(folder, name));
