// Makes the page: from src/ to ../selchat/page/, one file per kind, each with the hash of its content in its name,
// so that a browser may keep it for ever; only index.html has a fixed name. The same source gives the same bytes.
//
//   node build.mjs            writes the files, removes old ones, prints the sizes; fails above the limit
//   node build.mjs --check    writes nothing; fails where what is there is not what the source gives
//   node build.mjs FOLDER     makes it elsewhere
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT = 100 * 1024; // bytes of the whole page, gzipped
const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
const { values: options, positionals } = parseArgs({
  options: { check: { type: "boolean" } },
  allowPositionals: true,
});
const target = positionals[0] ?? join(here, "..", "selchat", "page");

/** What is made: name in the page -> bytes. */
const made = new Map();
/** Name in the source -> name in the page, for what refers to it. */
const names = new Map();

function hashed(name, bytes) {
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
  const dot = name.lastIndexOf(".");
  const full = `${name.slice(0, dot)}.${digest}${name.slice(dot)}`;
  names.set(name, full);
  made.set(full, bytes);
}

/** The text of a file, in which the quoted names of other files are those that they have in the page. */
function referring(path) {
  return readFileSync(path, "utf8").replace(/"([\w-]+\.\w+)"/g, (whole, name) =>
    names.has(name) ? `"${names.get(name)}"` : whole,
  );
}

async function bundle(entry, more = {}) {
  const result = await build({
    entryPoints: [join(source, entry)],
    absWorkingDir: here,
    bundle: true,
    minify: true,
    write: false,
    charset: "utf8",
    target: ["es2022", "chrome100", "firefox100", "safari15.4"],
    legalComments: "none",
    logLevel: "warning",
    ...more,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

hashed("worker.js", await bundle("core/worker.ts", { format: "iife" }));
hashed(
  "app.js",
  await bundle("main.ts", { format: "iife", define: { WORKER: JSON.stringify(names.get("worker.js")) } }),
);
hashed("style.css", await bundle("style.css"));
for (const name of readdirSync(source)
  .filter((name) => /\.(svg|png|ico|woff2)$/.test(name))
  .sort())
  hashed(name, readFileSync(join(source, name)));
hashed("manifest.webmanifest", Buffer.from(referring(join(source, "manifest.webmanifest"))));
made.set("index.html", Buffer.from(referring(join(here, "index.html"))));

// Of what all this is made: a test compares it where there is no Node. README.rst says what goes in.
const sources = ["build.mjs", "index.html", "package-lock.json"];
for (const name of readdirSync(source, { recursive: true }))
  if (statSync(join(source, name)).isFile()) sources.push(`src/${name.replaceAll("\\", "/")}`);
const digest = createHash("sha256");
for (const name of sources.sort()) {
  const bytes = readFileSync(join(here, name));
  digest.update(`${name} ${bytes.length}\n`).update(bytes);
}
made.set("SOURCE", Buffer.from(`${digest.digest("hex")}\n`));

let sum = 0;
for (const [name, bytes] of made) {
  const size = gzipSync(bytes, { level: 9 }).length;
  sum += size;
  console.log(`${String(size).padStart(7)} ${name}`);
}
console.log(`${String(sum).padStart(7)} bytes gzipped, of ${LIMIT}`);
if (sum > LIMIT) {
  console.error("The page is too large.");
  process.exit(1);
}

mkdirSync(target, { recursive: true });
const there = readdirSync(target);
if (options.check) {
  const stale = there.filter((name) => !made.has(name));
  for (const [name, bytes] of made)
    if (!there.includes(name) || !readFileSync(join(target, name)).equals(bytes)) stale.push(name);
  if (stale.length) {
    console.error(`selchat/page is not what the source gives (npm run build): ${stale.join(", ")}`);
    process.exit(1);
  }
} else {
  for (const name of there) if (!made.has(name)) rmSync(join(target, name));
  for (const [name, bytes] of made) writeFileSync(join(target, name), bytes);
}
