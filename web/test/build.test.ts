import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

test("the build is reproducible, and index.html names its files", () => {
  const folder = mkdtempSync(join(tmpdir(), "selchat-page-"));
  try {
    execFileSync(process.execPath, ["build.mjs", folder]);
    execFileSync(process.execPath, ["build.mjs", "--check", folder]);
    const names = readdirSync(folder);
    const html = readFileSync(join(folder, "index.html"), "utf8");
    const app = names.filter((name) => /^app\.[0-9a-f]{12}\.js$/.test(name));
    const worker = names.filter((name) => /^worker\.[0-9a-f]{12}\.js$/.test(name));
    assert.equal(app.length, 1);
    assert.ok(html.includes(`"${app[0]}"`), "the script");
    assert.ok(!/"(app\.js|style\.css|manifest\.webmanifest)"/.test(html), "no name without its hash");
    assert.ok(
      readFileSync(join(folder, app[0] as string), "utf8").includes(worker[0] as string),
      "the worker",
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
