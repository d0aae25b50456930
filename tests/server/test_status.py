"""Readiness, metrics and security.txt of a server in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from selchat.log.port import NotStoredError
from tests.server.support import Running
from tests.server.test_metrics import samples

Run = Callable[..., Running]


@pytest.fixture
def running(run: Run) -> Running:
    return run(quiet=True, max_clients=4)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def metrics(running: Running) -> dict[str, float]:
    return samples(running.server.status.metrics())


def test_metrics_count_messages_deliveries_and_connections(running: Running) -> None:
    server = running.server
    with (
        running.connect("Venkat") as venkat,
        running.connect("Michael") as michael,
        running.connect("Narayan") as narayan,
        running.connect(),
    ):
        running.tick_until(lambda: len(server.connections) == 4)
        seconds = metrics(running)["selchat_loop_lag_seconds_sum"]
        venkat.send("one", "two")
        michael.expect("two")
        michael.send("three")
        venkat.expect("three")
        server.hub.announce("tea")
        narayan.expect("tea")
        found = metrics(running)
        assert found["selchat_messages_total"] == 4
        assert found["selchat_deliveries_total"] == 2 * 2 + 2 + 3
        assert found["selchat_connections{wire=classic}"] == 3
        assert found["selchat_connections{wire=opening}"] == 1
        assert found["selchat_connections{wire=web}"] == found["selchat_connections{wire=closing}"] == 0
        assert found["selchat_connections_refused_total{reason=full}"] == 0
        assert found["selchat_connections_accepted_total"] == 4
        assert found["selchat_members"] == 3
        assert found["selchat_rooms"] == 1
        assert found["selchat_log_bytes"] == 4 * 256 + len("onetwothreetea")
        assert found["selchat_commit_seconds_count"] == 0, "the log in memory never waits for a disk"
        assert found["selchat_loop_lag_seconds_sum"] > seconds > 0
        assert found["selchat_lagging_readers"] == found["selchat_queued_bytes"] == 0
        assert "Venkat" not in str(found)


def test_metrics_count_refused_connections_and_slow_readers(running: Running) -> None:
    server = running.server
    with (
        running.connect("Venkat"),
        running.connect("Michael"),
        running.connect(),
        running.connect(),
        running.connect(),
    ):
        running.tick_until(lambda: metrics(running)["selchat_connections_accepted_total"] == 5)
        assert metrics(running)["selchat_connections_refused_total{reason=full}"] == 1

        def announce() -> dict[str, float]:
            server.hub.announce("x" * 60_000)
            server.reactor.tick(0)
            return metrics(running)

        running.tick_until(lambda: announce()["selchat_lagging_readers"])
        found = metrics(running)
        assert found["selchat_lagging_readers"] >= 1
        assert found["selchat_queued_bytes"] > 0
        running.tick_until(lambda: announce()["selchat_lapped_readers_total"])
        assert metrics(running)["selchat_lapped_readers_total"] >= 1


def test_not_ready_while_the_log_fails(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    server = running.server
    assert server.status.ready() == (200, "ready")

    def fail() -> None:
        raise NotStoredError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(server.hub.log, "commit", fail)
        server.hub.announce("tea")
        server.reactor.tick(0)
        for _ in range(2):
            assert server.status.ready() == (
                503,
                "the server cannot store messages at the moment (disk full)",
            )
            server.reactor.tick(0)
        assert metrics(running)["selchat_commits_failed_total"] == 3
    assert server.status.ready()[0] == 503, "the server has not tried again yet"
    server.reactor.tick(0)
    assert server.status.ready() == (200, "ready")


def test_not_ready_before_the_first_message_fails(run: Run, tmp_path: Path) -> None:
    history = tmp_path / "history" / "history.sqlite"
    running = run(history=str(history))
    server = running.server
    assert server.status.ready() == (200, "ready")
    history.rename(tmp_path / "elsewhere")
    status, why = server.status.ready()
    assert status == 503
    assert why == "the server cannot store messages at the moment (the history is not writable)"
    server.reactor.tick(0)
    status, why = server.status.ready()
    assert (status, "(the history is not writable)" in why) == (503, False), "the probe found the reason"
    server.reactor.tick(0)
    (tmp_path / "elsewhere").rename(history)
    server.status.ready()
    server.reactor.tick(0)
    assert server.status.ready() == (200, "ready")


@pytest.mark.parametrize(("free", "status"), [(0, 503), (1 << 19, 503), (1 << 20, 200), (None, 200)])
def test_not_ready_when_the_disk_is_full(
    running: Running, monkeypatch: pytest.MonkeyPatch, free: int | None, status: int
) -> None:
    monkeypatch.setattr(type(running.server.hub.log), "free_disk", free)
    found, why = running.server.status.ready()
    assert found == status
    if status == 503:
        assert free is not None
        assert why == f"the disk of the history is full: {free >> 10} KiB are free"


def test_not_ready_when_full_and_during_the_shutdown(running: Running, stack: ExitStack) -> None:
    server = running.server
    with running.connect(), running.connect(), running.connect():
        running.tick_until(lambda: len(server.connections) == 3)
        assert server.status.ready() == (200, "ready")
        stack.enter_context(running.connect())
        running.tick_until(lambda: len(server.connections) == 4)
        assert server.status.ready() == (503, "server is full (4 connections)")
        server.stop()
        assert server.status.ready() == (503, "the server is shutting down")


def test_not_ready_when_descriptors_run_out(
    run: Run, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selchat.server.server.raise_descriptor_limit", lambda _target: 34)
    running = run(max_clients=100, reserved_descriptors=32)
    with running.connect():
        running.tick_until(lambda: len(running.server.connections) == 1)
        assert running.server.status.ready() == (200, "ready")
        stack.enter_context(running.connect())
        running.tick_until(lambda: len(running.server.connections) == 2)
        assert running.server.status.ready() == (
            503,
            "no file descriptors are left for more than 2 connections",
        )


def test_security_txt_names_the_contact_of_the_settings(running: Running) -> None:
    assert running.server.status.security_txt() is None
    running.reload(security_contact="mailto:a@b.example")
    assert "Contact: mailto:a@b.example\n" in (running.server.status.security_txt() or "")
