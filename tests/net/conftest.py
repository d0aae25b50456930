from __future__ import annotations

from collections.abc import Iterator

import pytest

from selchat.net import reactor as reactor_module
from tests.net.helpers import Errors, InspectableReactor, ManualTime


@pytest.fixture
def errors() -> Iterator[Errors]:
    """The exceptions that callbacks have raised; a test that expects some must clear them."""
    errors = Errors()
    yield errors
    assert errors == []


@pytest.fixture
def reactor(errors: Errors) -> Iterator[InspectableReactor]:
    reactor = InspectableReactor(errors)
    yield reactor
    reactor.close()


@pytest.fixture
def clock(reactor: InspectableReactor, monkeypatch: pytest.MonkeyPatch) -> ManualTime:
    """Stop the reactor's clock; only the test moves it."""
    clock = ManualTime()
    monkeypatch.setattr(reactor_module, "time", clock)
    return clock
