"""``selchat-bench`` as a process: every scenario, exit statuses, signals. Asserts no timing."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.support import DEADLINE, Server, eventually

BENCH = [sys.executable, "-W", "error", "-m", "selchat.bench.cli"]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*BENCH, *words], capture_output=True, text=True, timeout=3 * DEADLINE, check=False)
    # What coverage says, where it runs, of a process that is told to end while it ends: it saves twice.
    done.stderr = re.sub(
        r"(?s)Exception ignored in atexit callback: <bound method Coverage\._atexit.*?database\.\n",
        "",
        done.stderr,
    )
    return done


ON_BOTH = ["fanout", "paced", "everyone", "idle", "connect", "slow", "churn", "soak", "durable"]


@pytest.mark.parametrize(
    ("wire", "scenario"),
    [
        *(("classic", one) for one in ON_BOTH),
        *(("selchat", one) for one in [*ON_BOTH, "rooms"]),
        *(("websocket", one) for one in ["fanout", "churn", "rooms"]),
    ],
)
def test_every_scenario(wire: str, scenario: str, tmp_path: Path) -> None:
    files = [f"--{kind}={tmp_path}/it.{kind}" for kind in ("json", "csv", "html")]
    words = [f"--wire={wire}", "--clients=5", "--rooms=4", "--duration=1", "--ramp=0.2", *files]
    done = bench(scenario, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{scenario}: wire={wire} ")
    result = json.loads((tmp_path / "it.json").read_text())
    assert result["scenario"] == scenario
    assert result["failure"] is None
    assert result["metrics"].get("lost", 0) == 0
    assert result["metrics"].get("acks_lost", 0) == 0
    assert result["metrics"]["refused"] == 0
    rows = list(csv.DictReader((tmp_path / "it.csv").read_text().splitlines()))
    assert [row["scenario"] for row in rows] == [scenario]
    page = (tmp_path / "it.html").read_text()
    assert ET.fromstring(page.partition("\n")[2]).tag == "html"


def test_a_server_that_is_there_already() -> None:
    server = Server()
    try:
        done = bench(
            "paced",
            f"--connect=localhost:{server.port}",
            f"--server-pid={server.pid}",
            "--clients=4",
            "--duration=0.5",
            "--fail-if=cpu_percent<0",
            "--fail-if=lost>0",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "cpu_us_per_delivery" in done.stdout
    finally:
        server.close()


def test_fail_if_exits_with_3() -> None:
    done = bench("fanout", "--clients=2", "--duration=0.3", "--fail-if=lost<0", "--fail-if=lost<1")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.endswith("\nfailed: lost<1 (lost is 0)\n")


def test_a_server_that_refuses() -> None:
    done = bench("fanout", "--connect=127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "selchat-bench: the server refuses connections: connection refused\n"


def started(path: Path, *words: str) -> subprocess.Popen[str]:
    """Start it, and return when it is measuring: the floor's worker is the fourth child."""
    with path.open("w") as file:
        process = subprocess.Popen([*BENCH, *words], stdout=file, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: len(children.read_text().split()) >= 3, "the generators have started")
    return process


def test_ctrl_c_shows_what_was_measured_so_far(tmp_path: Path) -> None:
    process = started(tmp_path / "out", "paced", "--clients=3", "--duration=9", "--ramp=0")
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=DEADLINE)[1]
    report = (tmp_path / "out").read_text()
    assert (process.returncode, stderr) == (130, "")
    assert "messages_per_s" in report
    assert "interrupted" in report


def test_a_server_that_goes_away(tmp_path: Path) -> None:
    server = Server()
    try:
        words = ["paced", f"--connect=127.0.0.1:{server.port}", "--clients=3", "--duration=9", "--ramp=0"]
        process = started(tmp_path / "out", *words)
        server.process.kill()
        stderr = process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 1
        assert stderr.startswith("selchat-bench: the server has closed a connection: ")
        assert stderr.count("\n") == 1
        assert "messages_per_s" in (tmp_path / "out").read_text()
    finally:
        server.close()


def test_the_history_is_gone_afterwards(tmp_path: Path) -> None:
    words = ["fanout", "--wire=selchat", "--history", "--clients=2", "--duration=0.3"]
    done = subprocess.run(
        [*BENCH, *words],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--history={tmp_path}/" in done.stdout
    assert "one fsync of 4 KiB" in done.stdout
    assert list(tmp_path.iterdir()) == []
