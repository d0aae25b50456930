"""Fault injection at step N: each receive, send, accept, ... of a conversation fails, once or for good.

After every failure the server keeps running: no other peer gets a wrong byte, the server releases every
resource, and when the fault is over, all users can talk again. A run without ``--run-slow`` takes some of the
steps.
"""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.faults.conversation import Conversation
from tests.faults.world import Faults, World, database_error, system_error, world

Fail = Callable[[], object]

# Each kind of step, with its errors. An error that is temporary by nature occurs only once.
_ONCE, _EVER = (False,), (False, True)
_SAMPLE = 4  # steps of each case without --run-slow, evenly spaced
FAULTS: dict[str, list[tuple[Fail, tuple[bool, ...]]]] = {
    "recv": [
        (system_error(errno.ECONNRESET), _EVER),
        (system_error(errno.ETIMEDOUT), _ONCE),
        (system_error(errno.EAGAIN), _ONCE),
        (system_error(errno.EINTR), _ONCE),
    ],
    "send": [
        (system_error(errno.EPIPE), _EVER),
        (system_error(errno.ENOBUFS), _ONCE),
        (system_error(errno.EAGAIN), _ONCE),
        (system_error(errno.EINTR), _ONCE),
    ],
    "shutdown": [(system_error(errno.ENOTCONN), _EVER)],
    "accept": [
        (system_error(errno.EMFILE), _EVER),
        (system_error(errno.ENOMEM), _EVER),
        (system_error(errno.ECONNABORTED), _ONCE),
        (system_error(errno.EINTR), _ONCE),
    ],
    "register": [(system_error(errno.ENOSPC), _EVER), (system_error(errno.ENOMEM), _ONCE)],
    "commit": [(database_error(sqlite3.SQLITE_FULL), _EVER), (database_error(sqlite3.SQLITE_IOERR), _ONCE)],
    "read": [(database_error(sqlite3.SQLITE_IOERR), _EVER)],
}


_BY_TLS = {"ECONNRESET", "EPIPE", "EAGAIN", "ENOTCONN"}  # errors for encrypted connections too
_ON_THE_WEB = {"ECONNRESET", "EPIPE", "EAGAIN", "ENOTCONN", "ENOSPC"}  # errors for browsers too


class Case(NamedTuple):
    """A kind of step and its error. ``ever``: later steps fail too. ``secure``: TLS. ``web``: WebSocket."""

    kind: str
    fail: Fail
    ever: bool
    secure: bool
    web: bool


def _cases() -> list[Case]:
    return [
        Case(kind, fail, ever, secure, web)
        for kind, some in FAULTS.items()
        for fail, evers in some
        for ever in evers
        for secure in (False, True)
        for web in (False, True)
        if not secure or (fail.__name__ in _BY_TLS and not ever)
        if not web or (fail.__name__ in _ON_THE_WEB and not ever)
        if not (web and secure) or fail.__name__ == "EAGAIN"
    ]


def _name(case: Case) -> str:
    way = f"{'-TLS' if case.secure else ''}{'-web' if case.web else ''}"
    return f"{case.kind}-{case.fail.__name__}-{'ever' if case.ever else 'once'}{way}"


@pytest.mark.parametrize("case", _cases(), ids=_name)
def test_server_survives_a_failure_at_any_step(
    case: Case, run_slow: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind, fail, ever, secure, web = case
    history = kind in {"commit", "read"}
    with _world(monkeypatch, tmp_path, Faults(), history, secure) as undisturbed:
        at_rest = undisturbed.holdings()
        total = _converse(undisturbed, at_rest, secure, web)[kind]
    assert total >= 4, "hardly any step could fail: the test is broken"
    for at in count(1) if run_slow else _sample(case, total):
        faults = Faults(kind, at, ever=ever, fail=fail)
        try:
            with _world(monkeypatch, tmp_path, faults, history, secure) as this:
                _converse(this, at_rest, secure, web)
        except AssertionError as error:
            raise AssertionError(f"{_name(case)}, at step {at}: {error}") from error
        if not faults.failed:
            assert at > total
            break


def _sample(case: Case, total: int) -> list[int]:
    """Return some of the steps: each case begins at another one, so that all cases cover most steps."""
    stride = max(1, total // _SAMPLE)
    return list(range(1 + _cases().index(case) % stride, total + 1, stride))


@contextmanager
def _world(
    monkeypatch: pytest.MonkeyPatch, folder: Path, faults: Faults, history: bool, secure: bool
) -> Iterator[World]:
    with TemporaryDirectory(dir=folder) as name:
        file = str(Path(name) / "history.sqlite") if history else None
        with world(monkeypatch, Path(name), faults, history=file, tls="auto" if secure else "off") as this:
            yield this


def _converse(this: World, at_rest: Counter[str], secure: bool, web: bool) -> Counter[str]:
    """Run a conversation with the faults, and check the server after it; return the steps that could fail."""
    talk = Conversation(this, secure=secure)
    if web:
        talk.run_web()
    else:
        talk.run()
    steps = this.faults.counts.copy()
    this.faults.heal()
    this.pass_time(5)
    talk.check()
    talk.two_can_talk()
    talk.goodbye()
    assert this.failures == []
    assert this.holdings() == at_rest
    return steps
