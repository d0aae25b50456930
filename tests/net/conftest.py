from __future__ import annotations

from collections.abc import Iterator

import pytest

from selchat.net import reactor as reactor_module
from selchat.net.reactor import Reactor
from tests.net.helpers import Errors, ManualTime


@pytest.fixture
def errors() -> Iterator[Errors]:
    """What callbacks have let through; a test that expects errors takes them out."""
    errors = Errors()
    yield errors
    assert errors == []


@pytest.fixture
def reactor(errors: Errors) -> Iterator[Reactor]:
    reactor = Reactor(errors)
    yield reactor
    reactor.close()


@pytest.fixture
def clock(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> ManualTime:
    """Stop the reactor's clock; only the test moves it."""
    clock = ManualTime()
    monkeypatch.setattr(reactor_module, "time", clock)
    return clock
