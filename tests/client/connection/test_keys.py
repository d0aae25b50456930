"""Key derivation in threads: one key at a time, and no calls after close."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from selchat.client.connection import keys
from selchat.client.connection.keys import KeyDeriver
from selchat.net.reactor import Reactor
from selchat.wire.e2ee import room_key
from tests.client.support import DEADLINE, eventually, fail, spin


class SlowScrypt:
    """Replaces scrypt: each call waits for ``permits``."""

    def __init__(self) -> None:
        self.salts: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.permits = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, passphrase: str, salt: bytes) -> bytes:
        self.threads.append(threading.current_thread())
        self.salts.append(salt)
        assert self.permits.acquire(timeout=DEADLINE)
        if self.error is not None:
            raise self.error
        return passphrase.encode() + salt


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowScrypt:
    slow = SlowScrypt()
    monkeypatch.setattr(keys, "room_key", slow)
    return slow


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor(fail)
    yield reactor
    reactor.close()


def test_key_is_the_one_that_scrypt_derives(reactor: Reactor) -> None:
    found: list[tuple[bytes, bytes]] = []
    deriver = KeyDeriver(reactor, "words", lambda *pair: found.append(pair))
    deriver.derive(b"s" * 16)
    spin(reactor, lambda: found, "the key")
    assert found == [(b"s" * 16, room_key("words", b"s" * 16))]


def test_keys_are_derived_one_at_a_time_while_the_reactor_runs(reactor: Reactor, slow: SlowScrypt) -> None:
    found: list[tuple[bytes, bytes]] = []
    threads: set[int] = set()
    deriver = KeyDeriver(
        reactor, "words", lambda *pair: (found.append(pair), threads.add(threading.get_ident()))
    )
    for salt in (b"1", b"2", b"3"):
        deriver.derive(salt)
    ticks: list[int] = []
    reactor.call_soon(ticks.append, 1)
    spin(reactor, lambda: ticks and slow.salts, "a tick while a key is derived")
    assert (slow.salts, found) == ([b"1"], [])
    for count in (1, 2, 3):
        slow.permits.release()
        spin(reactor, lambda count=count: len(found) == count, "the next key")  # type: ignore[misc]
    assert found == [(salt, b"words" + salt) for salt in (b"1", b"2", b"3")]
    assert slow.salts == [b"1", b"2", b"3"]
    assert threads == {threading.get_ident()}, "the reactor's"
    deriver.derive(b"4")
    slow.permits.release()
    spin(reactor, lambda: len(found) == 4, "one more, later")


def test_program_exits_without_waiting_for_a_key(reactor: Reactor, slow: SlowScrypt) -> None:
    deriver = KeyDeriver(reactor, "words", lambda *_: None)
    deriver.derive(b"1")
    eventually(lambda: slow.salts, "the key")
    assert [(thread.name, thread.daemon) for thread in slow.threads] == [("key", True)]
    deriver.close()
    slow.permits.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")


def test_nobody_is_called_after_close(reactor: Reactor, slow: SlowScrypt) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    deriver = KeyDeriver(reactor, "words", never)
    deriver.derive(b"1")
    deriver.derive(b"2")
    eventually(lambda: slow.salts, "the first")
    deriver.close()
    slow.permits.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
    reactor.tick(0)
    assert slow.salts == [b"1"]

    failing = KeyDeriver(reactor, "words", never)
    slow.error = ValueError("memory limit exceeded")
    failing.derive(b"3")
    failing.close()
    slow.permits.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
    reactor.tick(0)


def test_failure_reaches_the_reactors_error_handler(slow: SlowScrypt) -> None:
    errors: list[str] = []
    reactor = Reactor(lambda where, error: errors.append(f"{type(error).__name__}: {error}"))
    deriver = KeyDeriver(reactor, "words", lambda *_: errors.append("a key"))
    slow.error = ValueError("memory limit exceeded")
    deriver.derive(b"1")
    slow.permits.release()
    spin(reactor, lambda: errors, "the failure")
    assert errors == ["ValueError: memory limit exceeded"]
    deriver.close()
    reactor.close()


def test_reactor_may_close_while_a_key_is_derived(slow: SlowScrypt) -> None:
    reactor = Reactor(fail)
    deriver = KeyDeriver(reactor, "words", lambda *_: fail("late", AssertionError()))
    deriver.derive(b"1")
    deriver.close()
    reactor.close()
    slow.permits.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
