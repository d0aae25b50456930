// Builds the page from src/ into ../selchat/page/: one file of each type, with the hash of its content in its
// name, so that browsers can cache it for ever. Only index.html has a fixed name. Builds are reproducible.
//
//   node build.mjs            write the files, remove old ones, print the sizes; fail above the limit
//   node build.mjs --check    write nothing; fail if the files differ from a fresh build
//   node build.mjs FOLDER     build into another folder
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

/** Built files: name in the page -> bytes. */
const built = new Map();
/** Name in the source -> name in the page, to replace references. */
const names = new Map();

function addHashed(name, bytes) {
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
  const dot = name.lastIndexOf(".");
  const full = `${name.slice(0, dot)}.${digest}${name.slice(dot)}`;
  names.set(name, full);
  built.set(full, bytes);
}

/** Return the text of a file, with the quoted names of other files replaced by their names in the page. */
function withHashedNames(path) {
  return readFileSync(path, "utf8").replace(/"([\w-]+\.\w+)"/g, (whole, name) =>
    names.has(name) ? `"${names.get(name)}"` : whole,
  );
}

async function bundle(entry, extra = {}) {
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
    ...extra,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

addHashed("worker.js", await bundle("core/worker.ts", { format: "iife" }));
addHashed(
  "app.js",
  await bundle("main.ts", { format: "iife", define: { WORKER: JSON.stringify(names.get("worker.js")) } }),
);
addHashed("style.css", await bundle("style.css"));
for (const name of readdirSync(source)
  .filter((name) => /\.(svg|png|ico|woff2)$/.test(name))
  .sort())
  addHashed(name, readFileSync(join(source, name)));
addHashed("manifest.webmanifest", Buffer.from(withHashedNames(join(source, "manifest.webmanifest"))));
built.set("index.html", Buffer.from(withHashedNames(join(here, "index.html"))));

// The hash of the source: a test compares it where Node is missing. README.rst specifies it.
const sources = ["build.mjs", "index.html", "package-lock.json"];
for (const name of readdirSync(source, { recursive: true }))
  if (statSync(join(source, name)).isFile()) sources.push(`src/${name.replaceAll("\\", "/")}`);
const digest = createHash("sha256");
for (const name of sources.sort()) {
  const bytes = readFileSync(join(here, name));
  digest.update(`${name} ${bytes.length}\n`).update(bytes);
}
built.set("SOURCE", Buffer.from(`${digest.digest("hex")}\n`));

let sum = 0;
for (const [name, bytes] of built) {
  const size = gzipSync(bytes, { level: 9 }).length;
  sum += size;
  console.log(`${String(size).padStart(7)} ${name}`);
}
console.log(`${String(sum).padStart(7)} bytes gzipped, of ${LIMIT}`);
if (sum > LIMIT) {
  console.error("The page is too large. Make it smaller, or raise LIMIT.");
  process.exit(1);
}

mkdirSync(target, { recursive: true });
const there = readdirSync(target);
if (options.check) {
  const stale = there.filter((name) => !built.has(name));
  for (const [name, bytes] of built)
    if (!there.includes(name) || !readFileSync(join(target, name)).equals(bytes)) stale.push(name);
  if (stale.length) {
    console.error(`selchat/page is stale. Run npm run build: ${stale.join(", ")}`);
    process.exit(1);
  }
} else {
  for (const name of there) if (!built.has(name)) rmSync(join(target, name));
  for (const [name, bytes] of built) writeFileSync(join(target, name), bytes);
}
