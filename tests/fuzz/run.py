"""Coverage-guided fuzzing of the targets with atheris.

Install it with ``python3 -m pip install -e '.[fuzz]'``, then::

    python3 -m tests.fuzz.run --runs=1000000 frames      # one target
    python3 -m tests.fuzz.run --runs=1000000             # all targets

``--keep=FOLDER`` keeps the inputs that reach new code. A failing input is written to ``crash-...`` in the
current folder. Copy it into the corpus, and `tests.fuzz.test_targets` tests it from then on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_MAX_INPUT = 512  # bytes
_SLOWDOWN = {"http": 5, "websocket": 5}  # divides the runs: each input is several connections

_NAMES = tuple(sorted(folder.name for folder in CORPUS.iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the parsers of bytes from outside.")
    parser.add_argument("targets", nargs="*", help=f"targets to run: {', '.join(_NAMES)} [all]")
    fewer = ", ".join(f"{name} 1/{share}" for name, share in _SLOWDOWN.items())
    parser.add_argument(
        "--runs", type=int, default=100_000, help=f"runs of each target ({fewer}) [%(default)s]"
    )
    parser.add_argument(
        "--keep", help="folder for inputs that reach new code, with a subfolder for each target"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="targets at the same time [%(default)s]"
    )
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.targets) - set(_NAMES)
    if unknown:
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}. Choose from: {', '.join(_NAMES)}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing is skipped: atheris is not installed (it has no wheel for every Python)")
        return 0
    if options.in_this_process:
        fuzz(options.targets[0], options.runs, Path(options.keep))
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.jobs) as jobs:
        kept = Path(options.keep or temporary)
        done = jobs.map(
            lambda name: _run(name, max(1, options.runs // _SLOWDOWN.get(name, 1)), kept / name),
            options.targets or _NAMES,
        )
        return int(not all(done))


def _run(name: str, runs: int, kept: Path) -> bool:
    """Run one target in a separate process, because libFuzzer exits; return whether no input failed."""
    kept.mkdir(parents=True, exist_ok=True)
    arguments = [name, f"--runs={runs}", f"--keep={kept}", "--in-this-process"]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *arguments], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        print(done.stdout[-4000:] + done.stderr[-4000:], file=sys.stderr)
    verdict = "FAILED" if done.returncode else "no failure"
    print(f"{name}: {runs} runs, {runs / seconds:.0f} a second, {verdict}", flush=True)
    return not done.returncode


def fuzz(name: str, runs: int, kept: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["selchat"]):
        from tests.fuzz.targets import TARGETS
    arguments = [sys.argv[0], f"-runs={runs}", f"-max_len={_MAX_INPUT}", "-print_final_stats=1"]
    atheris.Setup([*arguments, str(kept), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
