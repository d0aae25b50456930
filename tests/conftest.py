"""Hypothesis profiles, slow tests, a data folder for each test, and a check for leaked resources."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# The default without --run-slow is "quick": the state machines of tests/properties run fewer examples.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True)
settings.register_profile(
    "nightly",
    max_examples=100_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# tests/mutation.py runs the tests for each of a thousand mutants: always the same few examples, no shrinking.
settings.register_profile(
    "mutation",
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores SIGINT for its background jobs, and the processes under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--full", action="store_true", help="run the tests of faults and load at full size")


def pytest_configure(config: pytest.Config) -> None:
    """Load a profile before the test modules choose their numbers of examples by it."""
    default = "ci" if config.getoption("run_slow") else "quick"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", default))


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to run at full size; the short form takes seconds."""
    return bool(pytestconfig.getoption("full"))


@pytest.fixture
def run_slow(pytestconfig: pytest.Config) -> bool:
    """Whether slow tests run; a test may then take a larger sample."""
    return bool(pytestconfig.getoption("run_slow"))


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers ``-n auto`` starts: more than cores, because many tests wait for a time-out."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect slow tests without ``--run-slow``; remove time limits in the nightly profile."""
    if not config.getoption("run_slow"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        if slow:
            config.hook.pytest_deselected(items=slow)
    if settings.get_current_profile_name() == "nightly":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


_DESCRIPTORS = Path("/proc/self/fd")  # Linux only
_GRACE = 5.0  # seconds for threads and descriptors that are about to close


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test an empty data folder, and hide the settings of the user."""
    for name in [name for name in os.environ if name.startswith("SELCHAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a descriptor open or a thread running."""
    descriptors, threads = _open_descriptors(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + _GRACE
    while True:
        leaked = sorted(
            f"descriptor {number} -> {target}"
            for number, target in _open_descriptors().items()
            if descriptors.get(number) != target
        )
        leaked += [f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads]
        if not leaked:
            return
        if time.monotonic() > deadline:
            pytest.fail("leaked: " + ", ".join(leaked))
        gc.collect()
        threading.Event().wait(0.01)


def _open_descriptors() -> dict[int, str]:
    """Return the target of each open descriptor, except 0 to 2, which pytest's capture changes."""
    if not _DESCRIPTORS.is_dir():
        return {}
    found = {}
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208
        if int(name) < 3:
            continue
        try:
            found[int(name)] = os.readlink(_DESCRIPTORS / name)  # noqa: PTH115
        except OSError:
            pass  # the descriptor of the listing itself
    return found
