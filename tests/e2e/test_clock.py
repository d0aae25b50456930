"""Change a running server's wall clock by a year: timers, message order and rate limits are not affected."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.selchat_support import SelchatPeer, serving
from tests.e2e.support import Client, Server

_YEAR = 365 * 86_400  # seconds
_RATE, _BURST = 80, 20  # messages a second; messages at once
_LOGIN = 0.5  # seconds
_ROSTER = 0.3  # seconds between rosters
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")

# A server whose time.time() is off by the number of seconds in a file.
_WRONG_CLOCK = """
import pathlib, sys, time

right, file = time.time, pathlib.Path(sys.argv[1])
time.time = lambda: right() + float(file.read_text())
from selchat import cli
sys.exit(cli.main(sys.argv[4:]))
"""


class WrongClock:
    """A file with the error of a server's clock in seconds."""

    def __init__(self, path: Path, library: str | None) -> None:
        self._path = path
        self._is_library = library is not None
        self.shift(0)
        self.wrapper = (sys.executable,) if library else (sys.executable, "-c", _WRONG_CLOCK, str(path))
        self.environment = {
            **os.environ,
            "SELCHAT_LOGIN_SECONDS": str(_LOGIN),
            "SELCHAT_MESSAGE_BURST": str(_BURST),
            "SELCHAT_ROSTER_INTERVAL": str(_ROSTER),
        }
        if library is not None:
            self.environment |= {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(path),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }

    def shift(self, seconds: int) -> None:
        """Set the error of the clock."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._path)


@pytest.fixture(params=["python", pytest.param("libfaketime", marks=pytest.mark.slow)])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> WrongClock:
    library = None
    if request.param == "libfaketime":
        found = [str(path) for pattern in _LIBRARIES for path in Path("/").glob(pattern[1:])]
        if not found:
            pytest.skip("libfaketime is not installed")
        library = found[0]
    return WrongClock(tmp_path / "offset", library)


@contextmanager
def serving_with(clock: WrongClock, path: Path) -> Iterator[Server]:
    options = ("--byte-rate=0", f"--message-rate={_RATE}")
    with serving(path, *options, wrapper=clock.wrapper, env=clock.environment) as server:
        yield server


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(_YEAR, id="a year ahead"),
        pytest.param(-_YEAR, id="a year back", marks=pytest.mark.slow),
    ],
)
def test_timers_order_and_rates_ignore_the_wall_clock(clock: WrongClock, moved: int, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with serving_with(clock, path) as server, SelchatPeer(server.port, "Asa") as asa:
        before = [asa.say(f"before {number}", f"b{number}") for number in range(3)]
        assert [ack["seq"] for ack in before] == [1, 2, 3]
        silent = Client(server.port)
        begin = time.monotonic()
        clock.shift(moved)
        moved_by = asa.say("after", "a")["at"] - before[-1]["at"]
        assert abs(moved_by - moved) < 60, "the clock did not change: the test is broken"

        # The rate limit follows real time: no burst for a year's worth of messages, and no year of silence.
        flood = [{"type": "say", "room": "lobby", "id": f"f{n}", "body": f"f{n}"} for n in range(60)]
        start = time.monotonic()
        asa.send(*flood)
        acks = [asa.read() for _ in flood]
        assert [ack["seq"] for ack in acks] == list(range(5, 65))
        assert time.monotonic() - start > 0.9 * (60 - _BURST) / _RATE

        # So does the login timeout.
        silent.sock.setblocking(True)
        assert "no username within" in silent.read_to_end().decode()
        assert time.monotonic() - begin > 0.9 * _LOGIN
        silent.close()

        # Messages keep their order, whatever their times.
        log = asa.welcome["log"]
        with SelchatPeer(server.port, "Bo", resume={"log": log, "rooms": {"lobby": 0}}) as bo:
            received = [bo.read() for _ in range(64)]
            assert [one["seq"] for one in received] == list(range(1, 65))
            assert [one["body"] for one in received[:4]] == ["before 0", "before 1", "before 2", "after"]
        clock.shift(0)
        assert asa.say("right again", "r")["seq"] == 65
        assert server.stop() == 0
        assert server.errors() == ""
    with serving_with(clock, path) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.welcome["rooms"][0]["seq"] == 65
        newest = asa.request("history", room="lobby", limit=2)["messages"]
        assert [one["seq"] for one in newest] == [64, 65]
        assert asa.say("f59", "f59")["seq"] == 64, "a repeated id gets the same ack"


def test_rosters_ignore_the_wall_clock(clock: WrongClock, tmp_path: Path) -> None:
    environment = clock.environment
    with Server("--quiet", wrapper=clock.wrapper, env=environment) as server:
        with Client(server.port, "Ann") as ann:
            ann.read_until("Server", "Users online (1): Ann")
            clock.shift(-_YEAR)
            with Client(server.port, "Ben"):
                ann.read_until("Server", "Users online (2): Ann, Ben")
                clock.shift(_YEAR)
            ann.read_until("Server", "Users online (1): Ann")
            server.assert_idle()
        assert server.stop() == 0
