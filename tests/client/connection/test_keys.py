"""Keys are derived beside the reactor, one after the other, and nobody is called when nobody listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from selchat.client.connection import keys as deriving
from selchat.client.connection.keys import Deriver
from selchat.net.reactor import Reactor
from selchat.wire.e2ee import room_key
from tests.client.support import DEADLINE, eventually, fail, spin


class Slow:
    """In the place of scrypt: waits until it is let go on."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.go_on = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, passphrase: str, salt: bytes) -> bytes:
        self.threads.append(threading.current_thread())
        self.begun.append(salt)
        assert self.go_on.acquire(timeout=DEADLINE)
        if self.error is not None:
            raise self.error
        return passphrase.encode() + salt


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(deriving, "room_key", slow)
    return slow


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor(fail)
    yield reactor
    reactor.close()


def test_a_real_key(reactor: Reactor) -> None:
    found: list[tuple[bytes, bytes]] = []
    deriver = Deriver(reactor, "words", lambda *pair: found.append(pair))
    deriver.derive(b"s" * 16)
    spin(reactor, lambda: found, "the key")
    assert found == [(b"s" * 16, room_key("words", b"s" * 16))]


def test_one_after_the_other_while_the_reactor_goes_on(reactor: Reactor, slow: Slow) -> None:
    found: list[tuple[bytes, bytes]] = []
    threads: set[int] = set()
    deriver = Deriver(
        reactor, "words", lambda *pair: (found.append(pair), threads.add(threading.get_ident()))
    )
    for salt in (b"1", b"2", b"3"):
        deriver.derive(salt)
    ticks: list[int] = []
    reactor.call_soon(ticks.append, 1)
    spin(reactor, lambda: ticks and slow.begun, "a tick while a key is derived")
    assert (slow.begun, found) == ([b"1"], [])
    for count in (1, 2, 3):
        slow.go_on.release()
        spin(reactor, lambda count=count: len(found) == count, "the next key")  # type: ignore[misc]
    assert found == [(salt, b"words" + salt) for salt in (b"1", b"2", b"3")]
    assert slow.begun == [b"1", b"2", b"3"]
    assert threads == {threading.get_ident()}, "the reactor's"
    deriver.derive(b"4")
    slow.go_on.release()
    spin(reactor, lambda: len(found) == 4, "one more, later")


def test_a_program_ends_without_waiting_for_a_key(reactor: Reactor, slow: Slow) -> None:
    deriver = Deriver(reactor, "words", lambda *_: None)
    deriver.derive(b"1")
    eventually(lambda: slow.begun, "the key")
    assert [(thread.name, thread.daemon) for thread in slow.threads] == [("key", True)]
    deriver.close()
    slow.go_on.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")


def test_nobody_is_called_after_it_was_closed(reactor: Reactor, slow: Slow) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    deriver = Deriver(reactor, "words", never)
    deriver.derive(b"1")
    deriver.derive(b"2")
    eventually(lambda: slow.begun, "the first")
    deriver.close()
    slow.go_on.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
    reactor.tick(0)
    assert slow.begun == [b"1"]

    failing = Deriver(reactor, "words", never)
    slow.error = ValueError("memory limit exceeded")
    failing.derive(b"3")
    failing.close()
    slow.go_on.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
    reactor.tick(0)


def test_a_failure_is_the_reactors(slow: Slow) -> None:
    errors: list[str] = []
    reactor = Reactor(lambda where, error: errors.append(f"{type(error).__name__}: {error}"))
    deriver = Deriver(reactor, "words", lambda *_: errors.append("a key"))
    slow.error = ValueError("memory limit exceeded")
    deriver.derive(b"1")
    slow.go_on.release()
    spin(reactor, lambda: errors, "the failure")
    assert errors == ["ValueError: memory limit exceeded"]
    deriver.close()
    reactor.close()


def test_a_reactor_that_is_closed_meanwhile(slow: Slow) -> None:
    reactor = Reactor(fail)
    deriver = Deriver(reactor, "words", lambda *_: fail("late", AssertionError()))
    deriver.derive(b"1")
    deriver.close()
    reactor.close()
    slow.go_on.release()
    eventually(lambda: all(thread.name != "key" for thread in threading.enumerate()), "its end")
