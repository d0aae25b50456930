"""Options that cannot work get one line and exit status 2, before anything runs."""

from __future__ import annotations

from pathlib import Path

import docopt
import pytest

from selchat import __version__
from selchat.bench import cli, scenarios
from selchat.bench.cli import USAGE, main, make_plan
from selchat.bench.scenarios import Plan
from selchat.bench.wires.wires import WIRES


def plan(*words: str) -> Plan:
    return make_plan(docopt.docopt(USAGE, list(words), default_help=False))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "a scenario is missing"),
        (["channels"], "there is no scenario 'channels'; these are: fanout, "),
        (["fanout", "--bla"], "unknown option --bla"),
        (["fanout", "x"], "unexpected argument 'x'"),
        (["fanout", "--clients=0"], "--clients: '0' is not a whole number of 1 or more"),
        (["fanout", "--clients=many"], "--clients: 'many' is not a whole number"),
        (["fanout", "--payload=39"], "--payload: '39' is not a whole number of 40 or more"),
        (["fanout", "--payload=70000"], "--payload: 70000 is over the 65536 bytes that a server takes"),
        (["fanout", "--duration=0"], "--duration: '0' is not a number of 0.1 or more"),
        (["paced", "--rate=fast"], "--rate: 'fast' is not a number"),
        (["fanout", "--fail-if=p99"], "'p99' is not NAME OPERATOR NUMBER"),
        (["idle", "--fail-if=p99_ms>1"], "'p99_ms' is not measured here; these are: "),
        (["fanout", "--connect=here"], "--connect: 'here' is not HOST:PORT"),
        (["fanout", "--connect=127.0.0.1:1", "--no-roster"], "--no-roster: only a server that is started"),
        (
            ["fanout", "--connect=127.0.0.1:1", "--fail-if=cpu_percent>1"],
            "'cpu_percent' is not measured here",
        ),
        (["fanout", "--wire=irc"], "--wire: 'irc' is none of classic, selchat, websocket"),
        (["fanout", "--delivery=200", "--payload=64"], "--delivery: instead of --payload, not with it"),
        (["fanout", "--delivery=67"], "on the classic wire there is none of 67 bytes; 68 to 65564"),
        (["fanout", "--delivery=70000", "--wire=websocket"], "on the websocket wire there is none of 70000"),
        (["fanout", "--wire=websocket", "--payload=65500"], "--payload: 65500 is over the 65024 bytes"),
        (["rooms", "--wire=classic"], "--wire: the classic wire has no rooms"),
        (["rooms", "--rooms=10000"], "--rooms: 10000 are more than the 9999 that a server takes"),
        (["fanout", "--wire=selchat", "--payload=65500"], "--payload: 65500 is over the 65024 bytes"),
        (["rooms", "--window=1025"], "--window: 1025 are more than the 1024 messages that may wait for acks"),
        (["durable", "--connect=127.0.0.1:1"], "--history: only a server that is started"),
        (["paced", "--history", "--connect=127.0.0.1:1"], "--history: only a server that is started"),
        (["fanout", "--fail-if=ack_p99_ms>25"], "'ack_p99_ms' is not measured here"),
        (["fanout", "--server-pid=1"], "--server-pid: goes with --connect"),
        (["slow", "--clients=3", "--stalled=3"], "leave nobody who reads"),
        (["idle", "--clients=90000000"], "connections are more than the "),
        (["fanout", "--json=/nowhere/at/all"], "--json: /nowhere/at/all cannot be written"),
    ],
)
def test_usage_errors(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios.Run, "run", lambda _: pytest.fail("it ran"))
    assert main(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("selchat-bench: ")
    assert complaint in output.err
    assert output.err.count("\n") == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Scenarios:" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"selchat-bench {__version__}\n"


def test_defaults_follow_the_scenario() -> None:
    assert plan("fanout").window == 256
    assert plan("everyone").senders == 0
    assert plan("paced", "--rate=7.5").rate == 7.5
    assert plan("slow", "--clients=50").stalled == 5
    assert plan("connect").connect_rate == 0
    assert (plan("fanout").wire, plan("rooms").wire, plan("durable").wire) == (
        "classic",
        "selchat",
        "selchat",
    )
    assert (plan("rooms").rooms, plan("rooms", "--rooms=7").rooms, plan("fanout").rooms) == (100, 7, 0)
    assert (plan("durable").history, plan("paced").history, plan("paced", "--history").history) == (
        True,
        False,
        True,
    )
    assert plan("fanout", "--wire=selchat", "--fail-if=ack_p99_ms>25").conditions[0].name == "ack_p99_ms"
    assert plan("fanout", "--wire=websocket", "--fail-if=ack_p99_ms>25").wire == "websocket"
    for scenario, wire in (("fanout", "classic"), ("fanout", "websocket"), ("rooms", "selchat")):
        payload = plan(scenario, f"--wire={wire}", "--delivery=250").payload
        room = "abc-00007" if scenario == "rooms" else "lobby"
        assert WIRES[wire].relayed(payload, room) == 250
    assert plan("fanout", "--connect=[::1]:33000").connect == ("::1", 33000)
    assert plan("fanout", "--no-pin").pins.server == frozenset()


def test_other_systems_get_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LINUX", False)
    assert main(["fanout"]) == 2
    assert "needs Linux" in capsys.readouterr().err


def test_no_such_host(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["fanout", "--connect=no-such-host.invalid:1", f"--json={tmp_path}/x"]) == 1
    assert capsys.readouterr().err == "selchat-bench: no-such-host.invalid: no such host\n"
