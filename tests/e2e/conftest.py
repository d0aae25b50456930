"""The fork server of the end-to-end tests, and how often they kill a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import processes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, help="how often to kill -9 the server under load [10, slow: 100]")


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Start processes by a fork: see `tests.e2e.processes`."""
    with processes.fork_server():
        yield


@pytest.fixture(params=[10, pytest.param(100, marks=pytest.mark.slow)])
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill the server: a few times, in the slow set many times, or as ``--kills`` says."""
    # pytest does not know the option when it is started above this folder.
    requested: int | None = request.config.getoption("kills", None)
    times: int = request.param
    return requested or times


@pytest.fixture
def short_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients find out within a second that a server is classic and has no TLS."""
    monkeypatch.setenv("SELCHAT_TLS_SECONDS", "0.5")
    monkeypatch.setenv("SELCHAT_HELLO_SECONDS", "0.5")
