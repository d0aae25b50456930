"""The benchmark scripts run as processes and write valid results. No timing is asserted."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it needs CPU pinning and /proc")


def run_script(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def table_widths(markdown):
    return [line.count("|") for line in markdown.splitlines() if line.startswith("|")]


@pytest.mark.slow
def test_peers_writes_tables_and_a_chart(tmp_path):
    done = run_script("peers.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "peers.json").read_text())
    assert (tmp_path / "peers.md").read_text().strip() == done.stdout.strip()
    assert ElementTree.parse(tmp_path / "peers.svg").getroot().tag.endswith("svg")
    assert results["failures"] == {}
    assert [work["window"] for work in results["work"]] == [16, 8, 1]
    for work in results["work"]:
        servers = work["servers"]
        assert {"floor", "selchat", "paper", "asyncio"} <= set(servers)
        for name, figures in servers.items():
            assert figures["deliveries_per_s"] > 0, name
            assert figures["server_cpu_us_per_delivery"] > 0, name
            assert figures["cpu_x_floor"] > 0, name
            assert figures["flaws"] == "", name
            assert all(one["in_order"] is not False for one in figures["turns"]), name
        assert (servers["selchat"]["p50_ms"] > 0) == (work["window"] == 1)


def test_missing_server_is_named_with_its_package(tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path)}
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import harness.servers as s; "
        f"s.SEARCH_PATH = {str(tmp_path)!r}; "
        "print([server.missing() for server in s.SERVERS if server.kind == 'broker'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    hints = [
        "apt install nats-server",
        "apt install redis-server",
        "apt install ngircd",
        "apt install mosquitto",
    ]
    assert done.stdout.strip() == str(hints)


def test_unknown_server_name_exits_with_2():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "peers.py"), "--only=kafka"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "kafka" in done.stderr) == (2, True)


@pytest.mark.slow
def test_ctrl_c_reports_the_figures_so_far_and_ends_all_servers(tmp_path):
    temporary, output = tmp_path / "temporary", tmp_path / "output"
    temporary.mkdir()
    arguments = [
        "--only=floor,selchat",
        "--duration=0.2",
        "--rounds=1000",
        "--patience=0",
        f"--output={output}",
    ]
    script = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "peers.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    with script:
        assert "900 x 256" in script.stderr.readline()
        assert processes_in(temporary) != []
        script.send_signal(signal.SIGINT)
        shown, _ = script.communicate(timeout=60)
    assert script.returncode == 130
    assert "| floor (bare sends)" in shown
    assert not output.exists()
    assert processes_in(temporary) == []
    assert list(temporary.iterdir()) == []


def processes_in(folder):
    """Return the processes whose working directory is in that folder, as that of every server is."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink().is_relative_to(folder):
                found.append(process.name)
        except OSError:
            pass  # it has ended, or belongs to another user
    return found


@pytest.mark.slow
def test_scaling_writes_a_table_and_a_chart(tmp_path):
    done = run_script("scaling.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "scaling.json").read_text())
    assert {(one["server"], one["receivers"], one["window"]) for one in results["results"]} == {
        (server, receivers, window)
        for server in ("floor", "selchat")
        for receivers in (5, 50)
        for window in (256, 1)
    }
    assert all(one["flaws"] == "" for one in results["results"])
    assert len(set(table_widths(done.stdout))) == 1
    assert len(table_widths(done.stdout)) == 4
    assert ElementTree.parse(tmp_path / "scaling.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_rooms_writes_a_table_and_a_chart(tmp_path):
    done = run_script("rooms.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "rooms.json").read_text())
    assert [one["rooms"] for one in results["results"]] == [1, 5]
    assert results["failures"] == {}
    for one in results["results"]:
        assert one["server_cpu_us_per_message"] > 0
        assert one["floor_cpu_us_per_message"] > 0
        assert not any("lost" in flaw or "ack" in flaw for flaw in one["flaws"])
    assert (tmp_path / "rooms.md").read_text().strip() == done.stdout.strip()
    assert table_widths(done.stdout) == [11] * 4
    assert ElementTree.parse(tmp_path / "rooms.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_websocket_writes_tables(tmp_path):
    pytest.importorskip("websockets")
    done = run_script("websocket.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "websocket.json").read_text())
    assert (tmp_path / "websocket.md").read_text().strip() == done.stdout.strip()
    assert set(results["runs"]) == {"classic", "websocket", "broadcast"}
    for runs in results["runs"].values():
        assert set(runs) == {"1", "16"}
        for (run,) in runs.values():
            assert run["flaws"] == ""
            assert run["deliveries"] > 0
            assert run["server_cpu_us_per_delivery"] > 0
            assert abs(run["bytes_per_delivery"] - 200) < 5  # seq numbers have fewer digits than expected
    assert set(results["websocket_to_classic"]) == set(results["broadcast_to_websocket"]) == {"1", "16"}
    assert sorted(set(table_widths(done.stdout))) == [5, 7]


@pytest.mark.slow
def test_durable_writes_a_table(tmp_path):
    done = run_script("durable.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "durable.json").read_text())
    assert (tmp_path / "durable.md").read_text().strip() == done.stdout.strip()
    assert results["messages"] == 2000
    assert results["fan_out"]["acks_lost"] == results["fan_out"]["lost"] == 0
    assert [len(times) for times in results["history_seconds"]] == [results["rooms"]] == [5]
    assert table_widths(done.stdout) == [4] * 8


@pytest.mark.slow
def test_abuse_writes_a_table(tmp_path):
    done = run_script("abuse.py", "--quick", f"--output={tmp_path}")
    results = json.loads((tmp_path / "abuse.json").read_text())
    assert (tmp_path / "abuse.md").read_text().strip() == done.stdout.strip()
    assert (results["lost"], results["out_of_order_or_doubled"]) == (0, 0)
    assert len(results["measurements"]) >= 19
    for measurement in results["measurements"]:
        [round] = measurement["rounds"]
        assert round["clients"]["connections"] >= measurement["connections"]
        assert round["abused"]["memory"] < 150, "MiB"
    assert table_widths(done.stdout) == [9] * (len(results["measurements"]) + 2)


def test_abuse_names_its_kinds_when_one_is_wrong():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "abuse.py"), "--kinds=rooms,nonsense"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("abuse.py: there is no kind 'nonsense'; the kinds are: messages, ")


@pytest.mark.slow
def test_micro_runs_every_benchmark(tmp_path):
    pytest.importorskip("pyperf")
    pytest.importorskip("websockets")
    output = tmp_path / "micro.json"
    run_script("micro.py", "--quick", "-o", str(output))
    names = {benchmark["metadata"]["name"] for benchmark in json.loads(output.read_text())["benchmarks"]}
    assert {name.partition(":")[0] for name in names} == {
        "frames",
        "websocket",
        "session",
        "selchat",
        "log",
        "feed",
        "fan-out",
        "outbox",
    }


@pytest.mark.slow
def test_password_prints_a_table():
    lines = run_script("password.py", "--rounds=1", "--tries=3").stdout.splitlines()
    assert lines[0].split() == ["what", "seconds", "p50_ms", "p99_ms", "p100_ms", "with_core_ms"]
    assert [line.split()[0] for line in lines[1:]] == ["passwords", "floor"]
    for line in lines[1:]:
        seconds, p50, p99, p100, _ = map(float, line.split()[1:])
        assert 0 < p50 <= p99 <= p100 <= seconds * 1000


def test_costs_compares_every_cost_with_its_setting(tmp_path):
    done = run_script("costs.py", "--quick", f"--output={tmp_path}")
    assert (tmp_path / "costs.md").read_text().strip() == done.stdout.strip()
    costs = json.loads((tmp_path / "costs.json").read_text())["us"]
    assert len(costs) >= 12
    assert all(costs[name]["measured"] > 0 for name in ("HANDSHAKE", "SIGN_IN", "REQUEST"))
    assert all(cost["setting"] > 0 for cost in costs.values())
