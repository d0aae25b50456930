// The Python interpreter, to compare the page with the Python implementation.

import { spawnSync } from "node:child_process";

export const PYTHON = process.env.SELCHAT_PYTHON ?? "python3";
export const isPythonThere =
  spawnSync(PYTHON, ["-c", "import selchat.cli, cryptography"], { cwd: ".." }).status === 0;
export const skip = isPythonThere
  ? false
  : "no Python that has what selchat needs (SELCHAT_PYTHON names another)";
