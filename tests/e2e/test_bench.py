"""``selchat-bench`` as a process: reports, exit statuses and signals. No timing is asserted."""

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
SCENARIOS = ["fanout", "paced", "everyone", "idle", "connect", "slow", "churn", "soak", "durable"]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*BENCH, *arguments],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
        env={**os.environ, **environment},
    )
    # Coverage saves its data twice in a process that gets SIGTERM while it ends, and complains about that.
    done.stderr = re.sub(
        r"(?s)Exception ignored in atexit callback: <bound method Coverage\._atexit.*?database\.\n",
        "",
        done.stderr,
    )
    return done


def check_reports(scenario: str, wire: str, folder: Path, *arguments: str) -> None:
    """Run the scenario, and check its report on standard output and in three files."""
    files = [f"--{kind}={folder}/it.{kind}" for kind in ("json", "csv", "html")]
    done = bench(scenario, f"--wire={wire}", *arguments, *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{scenario}: wire={wire} ")
    document = json.loads((folder / "it.json").read_text())
    assert document["scenario"] == scenario
    assert document["failure"] is None
    assert document["metrics"].get("lost", 0) == 0
    assert document["metrics"].get("acks_lost", 0) == 0
    assert document["metrics"]["refused"] == 0
    rows = list(csv.DictReader((folder / "it.csv").read_text().splitlines()))
    assert [row["scenario"] for row in rows] == [scenario]
    page = (folder / "it.html").read_text()
    assert ET.fromstring(page.partition("\n")[2]).tag == "html"


def test_run_writes_all_reports(tmp_path: Path) -> None:
    check_reports("fanout", "selchat", tmp_path, "--clients=3", "--duration=0.1", "--ramp=0.05")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wire", "scenario"),
    [
        *(("classic", scenario) for scenario in SCENARIOS),
        *(("selchat", scenario) for scenario in [*SCENARIOS, "rooms"]),
        *(("websocket", scenario) for scenario in ["fanout", "churn", "rooms"]),
    ],
)
def test_every_scenario_writes_all_reports(wire: str, scenario: str, tmp_path: Path) -> None:
    check_reports(scenario, wire, tmp_path, "--clients=5", "--rooms=4", "--duration=1", "--ramp=0.2")


def test_connect_measures_a_running_server() -> None:
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


def test_fail_if_that_holds_exits_with_3() -> None:
    done = bench("fanout", "--clients=2", "--duration=0.1", "--fail-if=lost<0", "--fail-if=lost<1")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.endswith("\nfailed: lost<1 (lost is 0)\n")


def test_refused_connection_exits_with_1() -> None:
    done = bench("fanout", "--connect=127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "selchat-bench: the server refuses connections: connection refused\n"


def start_bench(output: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run, and return when it measures: its third child is the floor or the floor's worker."""
    with output.open("w") as file:
        process = subprocess.Popen([*BENCH, *arguments], stdout=file, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: len(children.read_text().split()) >= 3, "the floor has started")
    return process


def test_ctrl_c_reports_the_figures_so_far(tmp_path: Path) -> None:
    process = start_bench(tmp_path / "out", "paced", "--clients=3", "--duration=9", "--ramp=0")
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=DEADLINE)[1]
    report = (tmp_path / "out").read_text()
    assert (process.returncode, stderr) == (130, "")
    assert "messages_per_s" in report
    assert "interrupted" in report


def test_killed_server_exits_with_1_and_reports_the_figures_so_far(tmp_path: Path) -> None:
    server = Server()
    try:
        arguments = [
            "paced",
            f"--connect=127.0.0.1:{server.port}",
            "--clients=3",
            "--duration=9",
            "--ramp=0",
        ]
        process = start_bench(tmp_path / "out", *arguments)
        server.process.kill()
        stderr = process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 1
        assert stderr.startswith("selchat-bench: the server closed a connection: ")
        assert stderr.count("\n") == 1
        assert "messages_per_s" in (tmp_path / "out").read_text()
    finally:
        server.close()


def test_temporary_history_is_deleted(tmp_path: Path) -> None:
    arguments = ["fanout", "--wire=selchat", "--history", "--clients=2", "--duration=0.1"]
    done = bench(*arguments, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--history={tmp_path}/" in done.stdout
    assert "one fsync of 4 KiB" in done.stdout
    assert list(tmp_path.iterdir()) == []
