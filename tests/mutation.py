"""Mutation testing: small changes of the code, one at a time, each of which a test should detect.

    python3 -m tests.mutation [FILE]...

Without a FILE it mutates all files that ``setup.cfg`` lists under ``[mutmut]``, with their tests. It prints
how many mutants of each file were killed and then the survivors, and exits with 1 where less than 85 % were.
``docs/mutants.rst`` explains the survivors.

mutmut makes the mutants in ``mutants/`` (never in the code itself) and runs only the tests that come
through the function that was changed. It changes the bodies of functions and the defaults of their arguments,
and no annotation, docstring, ``__slots__``, decorated function or other code of a module or class.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = 0.85  # of each file's mutants
KILLED = {"killed", "timeout", "segfault"}  # a mutant that runs forever or takes all memory is detected too
_MEMORY = 4 << 30  # bytes; for mutants that run forever and allocate
_ENVIRONMENT = os.environ | {
    "HYPOTHESIS_PROFILE": "mutation",
    "PYTHONHASHSEED": "0",  # for a fixed order of the tests
}


def chosen_files() -> list[str]:
    """Return the files that setup.cfg names."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings["mutmut"]["only_mutate"].split()


def module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def mutmut(*arguments: str, quiet: bool) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), *arguments],
        cwd=ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit("\n".join((done.stdout or "").splitlines()[-40:]) or "mutmut has failed")
    return done.stdout or ""


def diff(mutant: str) -> list[str]:
    """Return the lines that differ, the old ones and the new ones."""
    shown = mutmut("show", mutant, quiet=True).splitlines()
    return [line for line in shown if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}]


def main(files: list[str]) -> int:
    unknown = set(files) - set(chosen_files())
    if unknown:
        sys.exit(f"not among the files that setup.cfg names under [mutmut]: {' '.join(sorted(unknown))}")
    files = files or chosen_files()
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)  # earlier verdicts: the tests may have changed
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.nice(10)
    mutmut(
        "run", "--max-children=1", *(f"{module(file)}.x*" for file in files), quiet=not sys.stdout.isatty()
    )

    verdicts = {}
    for line in mutmut("results", "--all=true", quiet=True).splitlines():
        mutant, _, verdict = line.strip().partition(": ")
        verdicts[mutant] = verdict
    shares = []
    print(f"\n{'file':<30}{'mutants':>10}{'killed':>10}{'survived':>10}{'share':>10}")
    survivors: list[str] = []
    for file in files:
        of_file = {mutant: verdicts[mutant] for mutant in verdicts if mutant.startswith(f"{module(file)}.x")}
        counts = Counter(verdict in KILLED for verdict in of_file.values())
        shares.append(counts[True] / len(of_file))
        print(f"{file:<30}{len(of_file):>10}{counts[True]:>10}{counts[False]:>10}{shares[-1]:>10.1%}")
        survivors += [mutant for mutant, verdict in of_file.items() if verdict not in KILLED]
    for mutant in survivors:
        print(f"\n{mutant}: {verdicts[mutant]}", *diff(mutant), sep="\n")
    return int(min(shares) < WANTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
