"""Fail at step N: each receive, send, accept and so on of a whole conversation fails once, and then for ever.

Whatever fails, the server goes on: nobody else is sent a byte that does not belong there, everything that was
opened is given back, and when the fault is over everyone can talk again.
"""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.faults.conversation import Conversation
from tests.faults.world import Faults, World, database_error, system_error, world

Fail = Callable[[], object]

# What fails, how, and whether it may do so for ever: what the system only ever says in passing may not.
_ONCE, _EVER = (False,), (False, True)
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


_BY_TLS = {"ECONNRESET", "EPIPE", "EAGAIN", "ENOTCONN"}  # what is tried on an encrypted connection, too
_ON_THE_WEB = {"ECONNRESET", "EPIPE", "EAGAIN", "ENOTCONN", "ENOSPC"}  # and with browsers


class Case(NamedTuple):
    """What fails, how, whether for ever, whether people come by TLS, and whether by browsers."""

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
def test_whatever_fails_at_whichever_step(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind, fail, ever, secure, web = case
    history = kind in {"commit", "read"}
    with _world(monkeypatch, tmp_path, Faults(), history, secure) as undisturbed:
        at_rest = undisturbed.holdings()
        _converse(undisturbed, at_rest, secure, web)
    at = 0
    while True:
        at += 1
        faults = Faults(kind, at, ever=ever, fail=fail)
        try:
            with _world(monkeypatch, tmp_path, faults, history, secure) as this:
                _converse(this, at_rest, secure, web)
        except AssertionError as error:
            raise AssertionError(f"{_name(case)}, at step {at}: {error}") from error
        if not faults.failed:
            break
    assert at > 4, "hardly anything has failed: the test is broken"


@contextmanager
def _world(
    monkeypatch: pytest.MonkeyPatch, folder: Path, faults: Faults, history: bool, secure: bool
) -> Iterator[World]:
    with TemporaryDirectory(dir=folder) as name:
        file = str(Path(name) / "history.sqlite") if history else None
        with world(monkeypatch, Path(name), faults, history=file, tls="auto" if secure else "off") as this:
            yield this


def _converse(this: World, at_rest: Counter[str], secure: bool, web: bool) -> None:
    """Have a conversation with the faults in it, and see that everything is as it should be after them."""
    talk = Conversation(this, secure=secure)
    if web:
        talk.run_web()
    else:
        talk.run()
    this.faults.heal()
    this.pass_time(5)
    talk.check()
    talk.two_can_talk()
    talk.goodbye()
    assert this.failures == []
    assert this.holdings() == at_rest
