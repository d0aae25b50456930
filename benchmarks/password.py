"""How long the loop stands still while passwords are checked beside it.

Usage:
  password.py [options]

Options:
  --rounds=N   How often to measure, each time with passwords and without, in turns. [default: 5]
  --tries=N    Passwords that are checked at once: two by the workers, the others wait. [default: 34]
  -h --help    Show this text.

The loop is a busy one: each tick has half a millisecond of work to do. What is shown is the time between the
beginnings of two ticks, and of p100 what is left without the time in which the loop's thread had no core
(Linux only): that is how long it has waited for the interpreter. The floor is the same loop for as long with
nothing beside it: what the machine does to any program.
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
    """Return the seconds between ticks, in order, the longest with a core, and how long it took.

    Without tries, it takes so many seconds.
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

    def answered(is_right: bool) -> None:
        nonlocal left
        assert not is_right
        left -= 1
        if not left:
            reactor.stop()

    reactor.call_later(0, tick)
    began = time.perf_counter()
    for number in range(tries):
        job = workers.submit(partial(partial, hash.matches, f"guess {number}"), answered)
        assert job is not None
    if not tries:
        reactor.call_later(seconds, reactor.stop)
    reactor.run()
    took = time.perf_counter() - began
    workers.close(10.0)
    reactor.close()
    return sorted(gaps), with_core, took


def waited_for_core() -> float:
    """Return for how many seconds this thread was ready to run and has not run; 0 where nobody knows."""
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
        took = 0.0
        for what, tries in (("passwords", int(options["--tries"])), ("floor", 0)):
            gaps, with_core, took = measure(hash, tries, took)
            shown = [gaps[min(len(gaps) - 1, int(len(gaps) * part))] * 1e3 for part in (0.5, 0.99, 1.0)]
            print(
                f"{what:<12} {took:7.2f} " + " ".join(f"{one:7.1f}" for one in (*shown, with_core * 1e3)),
                flush=True,
            )


if __name__ == "__main__":
    main()
