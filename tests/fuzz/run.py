"""Drives the fuzz targets by coverage, with atheris: ``python3 -m pip install -e '.[fuzz]'``, and then::

    python3 -m tests.fuzz.run --runs=1000000 frames      # one of them
    python3 -m tests.fuzz.run --runs=1000000             # each of them

What is new to the coverage is kept in ``--keep=FOLDER``, if that is given. An input that fails is left in the
present folder as ``crash-...``: put into the corpus, it is a test from then on (`tests.fuzz.test_targets`).
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
_LONGEST = 512  # bytes of an input
_SLOW = {"http": 5, "websocket": 5}  # so many times fewer runs: each input is several connections

_NAMES = tuple(sorted(folder.name for folder in CORPUS.iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what is fed with bytes from outside.")
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(_NAMES)}; all if not given")
    fewer = ", ".join(f"{name} 1/{share}" for name, share in _SLOW.items())
    parser.add_argument("--runs", type=int, default=100_000, help=f"of each target ({fewer}) [%(default)s]")
    parser.add_argument("--keep", help="a folder for inputs that reach something new, in one for each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time [%(default)s]")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.targets) - set(_NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_NAMES)}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing is skipped: atheris is not installed (it has no wheel for every Python)")
        return 0
    if options.in_this_process:
        _fuzz(options.targets[0], options.runs, Path(options.keep))
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.jobs) as jobs:
        kept = Path(options.keep or temporary)
        done = jobs.map(
            lambda name: _run(name, max(1, options.runs // _SLOW.get(name, 1)), kept / name),
            options.targets or _NAMES,
        )
        return int(not all(done))


def _run(name: str, runs: int, kept: Path) -> bool:
    """Run one target, in a process of its own, which libFuzzer ends; return whether nothing has failed."""
    kept.mkdir(parents=True, exist_ok=True)
    words = [name, f"--runs={runs}", f"--keep={kept}", "--in-this-process"]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *words], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        print(done.stdout[-4000:] + done.stderr[-4000:], file=sys.stderr)
    verdict = "FAILED" if done.returncode else "no failure"
    print(f"{name}: {runs} runs, {runs / seconds:.0f} a second, {verdict}", flush=True)
    return not done.returncode


def _fuzz(name: str, runs: int, kept: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["selchat"]):
        from tests.fuzz.targets import TARGETS
    arguments = [sys.argv[0], f"-runs={runs}", f"-max_len={_LONGEST}", "-print_final_stats=1"]
    atheris.Setup([*arguments, str(kept), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
