"""Wrong options get one line and exit status 2, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from selchat import __version__
from selchat.bench import plan, scenarios
from selchat.bench.cli import main


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "SCENARIO is missing"),
        (["channels"], "unknown scenario 'channels'; choose one of fanout, "),
        (["fanout", "--bla"], "unknown option --bla"),
        (["fanout", "x"], "unexpected argument 'x'"),
        (["fanout", "--clients=0"], "--clients: '0' is not a whole number of at least 1"),
        (["fanout", "--clients=" + "9" * 5000], "99... is not a whole number of at least 1"),
        (["fanout", f"--connect=127.0.0.1:{'9' * 5000}"], "is not HOST:PORT"),
        (["fanout", "--clients=many"], "--clients: 'many' is not a whole number"),
        (["fanout", "--payload=39"], "--payload: '39' is not a whole number of at least 40"),
        (["fanout", "--payload=70000"], "--payload: 70000 is over the server's limit of 65536 bytes"),
        (["fanout", "--duration=0"], "--duration: '0' is not a number of at least 0.1"),
        (["paced", "--rate=fast"], "--rate: 'fast' is not a number"),
        (["fanout", "--fail-if=p99"], "'p99' is not NAME OPERATOR NUMBER"),
        (["idle", "--fail-if=p99_ms>1"], "'p99_ms' is not measured here; choose one of "),
        (["fanout", "--connect=here"], "--connect: 'here' is not HOST:PORT"),
        (["fanout", "--connect=127.0.0.1:1", "--no-roster"], "--no-roster: cannot change the server"),
        (
            ["fanout", "--connect=127.0.0.1:1", "--fail-if=cpu_percent>1"],
            "'cpu_percent' is not measured here",
        ),
        (["fanout", "--wire=irc"], "unknown wire 'irc'; choose one of classic, selchat, websocket"),
        (["fanout", "--delivery=200", "--payload=64"], "--delivery: use either --delivery or --payload"),
        (["fanout", "--delivery=67"], "the classic wire has no delivery of 67 bytes; choose 68 to 65564"),
        (["fanout", "--delivery=70000", "--wire=websocket"], "the websocket wire has no delivery of 70000"),
        (["fanout", "--wire=websocket", "--payload=65500"], "--payload: 65500 is over the server's limit"),
        (["rooms", "--wire=classic"], "--wire: the classic protocol has no rooms"),
        (["rooms", "--rooms=10000"], "--rooms: 10000 is over the server's limit of 9999 rooms"),
        (["fanout", "--wire=selchat", "--payload=65500"], "over the server's limit of 65024 bytes"),
        (["rooms", "--window=1025"], "1025 is over the server's limit of 1024 unacknowledged messages"),
        (["durable", "--connect=127.0.0.1:1"], "--connect: durable starts its own two servers"),
        (["paced", "--history", "--connect=127.0.0.1:1"], "--history: cannot change the server of --connect"),
        (["fanout", "--fail-if=ack_p99_ms>25"], "'ack_p99_ms' is not measured here"),
        (["fanout", "--server-pid=1"], "--server-pid: needs --connect"),
        (["slow", "--clients=3", "--stalled=3"], "--stalled: 3 of 3 clients leaves no reader"),
        (["idle", "--clients=90000000"], "connections are more than the "),
        (["fanout", "--json=/nowhere/at/all"], "--json: cannot write /nowhere/at/all"),
    ],
)
def test_wrong_options_get_a_one_line_error(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios.Run, "run", lambda _: pytest.fail("the scenario ran"))
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("selchat-bench: ")
    assert error in output.err
    assert output.err.count("\n") == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Scenarios:" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"selchat-bench {__version__}\n"


def test_system_other_than_linux_gets_a_one_line_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "LINUX", False)
    assert main(["fanout"]) == 2
    assert "needs Linux" in capsys.readouterr().err


def test_unknown_host_gets_a_one_line_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["fanout", "--connect=no-such-host.invalid:1", f"--json={tmp_path}/x"]) == 1
    assert capsys.readouterr().err == "selchat-bench: no-such-host.invalid: no such host\n"
