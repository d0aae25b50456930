"""Measure how long password checks in threads block the event loop.

Usage:
  password.py [options]

Options:
  --rounds=N   Rounds, each with password checks and without. [default: 5]
  --tries=N    Passwords to check at once: two threads check them, the others wait. [default: 34]
  -h --help    Show this text.

The event loop is busy: each tick has half a millisecond of work. The figures are the time between the starts
of two ticks. ``with_core_ms`` is the longest such time without the time in which the loop's thread waited for
a core (Linux only): the rest is mostly the wait for the interpreter lock. The floor is the same loop for the
same time without password checks: it shows the effect of the machine alone.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

import docopt

sys.path.insert(0, str(Path(__file__).parents[1]))

from selchat.auth.password import PasswordHash
from selchat.net.reactor import Reactor
from selchat.net.thread_pool import ThreadPool

_WORK = 0.0005  # seconds of each tick


def measure(hash: PasswordHash, tries: int, seconds: float) -> tuple[list[float], float, float]:
    """Return the sorted seconds between ticks, the longest of these with a core, and the total seconds.

    Without ``tries``, run for ``seconds``.
    """
    reactor = Reactor(_raise)
    workers = ThreadPool(reactor, 2, tries)
    gaps: list[float] = []
    with_core = 0.0
    last, last_waited, left = time.perf_counter(), waited_for_core(), tries

    def tick() -> None:
        nonlocal last, last_waited, with_core
        now, waited = time.perf_counter(), waited_for_core()
        gaps.append(now - last)
        with_core = max(with_core, now - last - (waited - last_waited))
        last, last_waited = now, waited
        while time.perf_counter() < now + _WORK:
            pass
        reactor.call_later(0, tick)

    def on_result(is_right: bool) -> None:
        nonlocal left
        assert not is_right
        left -= 1
        if not left:
            reactor.stop()

    reactor.call_later(0, tick)
    start = time.perf_counter()
    for number in range(tries):
        job = workers.submit(partial(partial, hash.matches, f"guess {number}"), on_result)
        assert job is not None
    if not tries:
        reactor.call_later(seconds, reactor.stop)
    reactor.run()
    total = time.perf_counter() - start
    workers.close(10.0)
    reactor.close()
    return sorted(gaps), with_core, total


def waited_for_core() -> float:
    """Return the seconds for which this thread has waited for a core; 0 if the system cannot tell."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e9


def _raise(_where: str, error: Exception) -> None:
    raise error


def main() -> None:
    options = docopt.docopt(__doc__)
    hash = PasswordHash.of("tea at four")
    print("what         seconds  p50_ms  p99_ms  p100_ms  with_core_ms")
    for _ in range(int(options["--rounds"])):
        total = 0.0
        for name, tries in (("passwords", int(options["--tries"])), ("floor", 0)):
            gaps, with_core, total = measure(hash, tries, total)
            shown = [gaps[min(len(gaps) - 1, int(len(gaps) * part))] * 1e3 for part in (0.5, 0.99, 1.0)]
            print(
                f"{name:<12} {total:7.2f} "
                + " ".join(f"{value:7.1f}" for value in (*shown, with_core * 1e3)),
                flush=True,
            )


if __name__ == "__main__":
    main()
