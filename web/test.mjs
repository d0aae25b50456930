// Runs the tests: bundles each test/*.test.ts, because Node does not read TypeScript, and runs them with Node's test
// runner. Arguments go to the runner: `npm test -- --test-name-pattern=resume`.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const bundles = join(here, "build");
const tests = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
rmSync(bundles, { recursive: true, force: true });
await build({
  entryPoints: tests.map((name) => join(here, "test", name)),
  absWorkingDir: here,
  outdir: bundles,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  logLevel: "warning",
});
const result = spawnSync(
  process.execPath,
  [
    "--enable-source-maps",
    "--test",
    "--test-force-exit",
    "--test-timeout=60000",
    ...process.argv.slice(2),
    ...tests.map((name) => join("build", name.replace(/\.ts$/, ".mjs"))),
  ],
  { cwd: here, stdio: "inherit" },
);
process.exit(result.status ?? 1);
