"""How often the server is killed: as an option, because a night has time for more than a test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import processes

_KILLS = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=_KILLS, help=f"how often to kill -9 the server under load [{_KILLS}]"
    )


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Start processes by a fork: see `tests.e2e.processes`."""
    with processes.fork_server():
        yield


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often to kill the server."""
    # pytest does not know the option when it is started above this folder.
    return int(pytestconfig.getoption("kills", _KILLS))
