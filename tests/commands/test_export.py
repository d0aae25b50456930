from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.commands import export as module
from selchat.commands.export import (
    Line,
    NoHistoryError,
    OutputError,
    Progress,
    UnknownRoomError,
    export,
    main,
    parse_since,
)
from selchat.errors import SettingError
from selchat.log.errors import HistoryError, NewerHistoryError, NotAHistoryError, UnusableHistoryError
from selchat.log.sqlite import SqliteLog
from tests.log.support import opened, script

AT = datetime(2026, 11, 23, 14, 3, 5, 125_000, UTC).timestamp()


@pytest.fixture(autouse=True)
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be two hours east of Greenwich."""
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history ?#%41.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with opened(path) as log:
        yield log


def say(log: SqliteLog, room: str, author: str, body: str, at: float = AT, **more: Any) -> None:
    log.append(room, author, [body], at, **more)
    log.commit()


def exported(
    path: Path, format: str = "text", room: str | None = None, since: float | None = None
) -> list[str]:
    out = io.StringIO()
    export(path, room, since, format, out)
    assert out.getvalue().endswith("\n") or not out.getvalue()
    return out.getvalue().split("\n")[:-1]


def bodies(lines: list[str]) -> list[str]:
    return [json.loads(line)["body"] for line in lines]


def test_as_text(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "hello")
    say(log, "engine-room", "नारायण", "नमस्ते 👋", AT + 3600)
    say(log, "lobby", "Venkat", "0xbeef", AT + 86_400, ciphers=["aes-gcm"])
    assert exported(path) == [
        "2026-11-23 16:03:05 [lobby] Venkat > hello",
        "2026-11-23 17:03:05 [engine-room] नारायण > नमस्ते 👋",
        "2026-11-24 16:03:05 [lobby] Venkat > (encrypted: aes-gcm) 0xbeef",
    ]


def test_as_json(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "hello", ids=["5f2c-1"], client_id=b"x")
    say(log, "engine-room", "नारायण", "नमस्ते", AT + 0.0009)
    say(log, "lobby", "Venkat", "0xbeef", 0.0, ciphers=["aes-gcm"])
    first, second, third = exported(path, "jsonl")
    assert first == (
        '{"room": "lobby", "seq": 1, "at": "2026-11-23T14:03:05.125Z", "from": "Venkat", "body": "hello",'
        ' "id": "5f2c-1"}'
    )
    assert "नमस्ते" in second
    at = "2026-11-23T14:03:05.126Z"
    assert json.loads(second) == {"room": "engine-room", "seq": 1, "at": at, "from": "नारायण", "body": "नमस्ते"}
    assert json.loads(third) == {
        **{"room": "lobby", "seq": 2, "at": "1970-01-01T00:00:00.000Z"},
        **{"from": "Venkat", "body": "0xbeef", "cipher": "aes-gcm"},
    }


def test_line_feeds_are_kept_and_forge_nothing(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "one\n2026-11-23 16:03:05 [lobby] Michael > two\n\n\r\nlast\n")
    assert exported(path) == [
        "2026-11-23 16:03:05 [lobby] Venkat > one",
        "    2026-11-23 16:03:05 [lobby] Michael > two",
        "    ",
        "    \\r",
        "    last",
        "    ",
    ]


def test_nothing_acts_on_a_terminal(log: SqliteLog, path: Path) -> None:
    nasty = "\x1b[2J\x07\x00\x7f\x9b\x85\u2028\u2029\u202e\v\f\r\t\U000e0001"
    say(log, "lo\nbby", "Ven\x1bkat\n", nasty, ids=[nasty], ciphers=[nasty])
    [text] = exported(path)
    [line] = exported(path, "jsonl")
    assert text.isprintable()
    assert line.isprintable()
    assert "[lo\\nbby] Ven\\x1bkat\\n > " in text
    message = json.loads(line)
    assert (message["room"], message["from"]) == ("lo\nbby", "Ven\x1bkat\n")
    assert message["body"] == message["id"] == message["cipher"] == nasty


@given(
    st.builds(
        Line, st.text(), st.integers(1), st.just(AT), st.text(), st.text(), st.none() | st.text(), st.text()
    )
)
def test_every_message_is_one_line_of_json(line: Line) -> None:
    text = module._as_json(line)
    assert text[:-1].isprintable()
    assert text.count("\n") == 1
    found = json.loads(text.encode())
    assert (found["room"], found["from"], found["body"], found["seq"]) == (
        line.room,
        line.author,
        line.body,
        line.seq,
    )
    assert (found.get("id", ""), found.get("cipher")) == (line.id, line.cipher)


@given(st.text(), st.text(), st.text())
def test_only_the_first_line_of_a_text_begins_in_the_first_column(room: str, author: str, body: str) -> None:
    first, *rest = module._as_text(Line(room, 1, AT, author, "", None, body))[:-1].split("\n")
    assert first.startswith("2026-11-23 16:03:05 [")
    assert len(rest) == body.count("\n")
    assert all(line.startswith("    ") for line in rest)
    assert not any(character in line for line in [first, *rest] for character in "\x1b\r\x85\u2028\x00\x7f")


def test_rooms_are_in_the_order_of_time_or_one_alone(log: SqliteLog, path: Path) -> None:
    for number in range(9):
        say(log, ("Lobby", "attic", "@venkat")[number % 3], "n", str(number), AT + number)
    assert bodies(exported(path, "jsonl")) == ["0", "1", "3", "4", "6", "7"]
    assert bodies(exported(path, "jsonl", "attic")) == ["1", "4", "7"]
    assert bodies(exported(path, "jsonl", "#LOBBY")) == ["0", "3", "6"]


def test_whispers_are_not_exported(log: SqliteLog, path: Path) -> None:
    say(log, "@venkat", "Michael", "a secret")
    assert exported(path) == []
    for room in ("@venkat", "@VENKAT", "#@venkat", "venkat"):
        with pytest.raises(UnknownRoomError) as caught:
            exported(path, "text", room)
        assert "secret" not in str(caught.value)
    with pytest.raises(UnknownRoomError, match="whispers are not exported"):
        exported(path, "text", "@venkat")


def test_an_unknown_room_is_answered_with_those_that_there_are(log: SqliteLog, path: Path) -> None:
    with pytest.raises(UnknownRoomError, match="there is no room lobby; there are: none"):
        exported(path, "text", "lobby")
    for number in range(3):
        say(log, f"room{2 - number}", "n", "x")
    with pytest.raises(UnknownRoomError, match=r"there is no room lobby; there are: room0, room1, room2$"):
        exported(path, "text", "lobby")
    for number in range(100):
        say(log, f"{number}", "n", "x")
    with pytest.raises(UnknownRoomError, match=r", 52, 53 and 53 more$"):
        exported(path, "text", "lobby")


def test_since(log: SqliteLog, path: Path) -> None:
    for number in range(5):
        say(log, "lobby", "n", str(number), AT + number)
    assert bodies(exported(path, "jsonl", None, AT + 2)) == ["2", "3", "4"]
    assert bodies(exported(path, "jsonl", "lobby", AT + 3.5)) == ["4"]
    assert exported(path, "jsonl", "lobby", AT + 9) == []


@pytest.mark.parametrize("room", [None, "lobby"])
def test_it_reads_in_steps_and_ends(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch, room: str | None
) -> None:
    log.append("lobby", "n", [str(number) for number in range(3500)], AT)
    log.append("@venkat", "n", ["whisper"] * 2500, AT)
    log.append("lobby", "n", [str(number) for number in range(3500, 4000)], AT)
    log.commit()
    seen = []

    class Busy(io.StringIO):
        """Whoever reads this says more than they read."""

        def writelines(self, lines: Any) -> None:
            super().writelines(lines)
            say(log, "lobby", "n", "later")

    out = Busy()
    export(path, room, None, "jsonl", out, progress=seen.append)
    assert bodies(out.getvalue().split("\n")[:-1]) == [str(number) for number in range(4000)]
    assert len(seen) > 3
    assert seen[-1] == 4000


def test_a_slow_reader_does_not_hold_up_the_write_ahead_log(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "n", ["x" * 1000] * 1500, AT)
    log.commit()
    sizes = []

    class Slow(io.StringIO):
        def writelines(self, lines: Any) -> None:
            for _ in range(15):
                log.append("lobby", "n", ["x" * 1000] * 1500, AT)
                log.commit()
                sizes.append(Path(f"{path}-wal").stat().st_size)

    export(path, None, None, "text", Slow())
    assert max(sizes) < 10 << 20 < path.stat().st_size


# -- what may be wrong with the file -------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(NoHistoryError, match=r"there is no history .*; --history=PATH says where it is"):
        exported(path)
    with pytest.raises(NoHistoryError):
        exported(path / "below")
    assert not path.exists()


def test_files_that_are_none(path: Path) -> None:
    for content in (b"", b"no database " * 999):
        path.write_bytes(content)
        with pytest.raises(NotAHistoryError):
            exported(path)
        assert path.read_bytes() == content
    with pytest.raises(HistoryError):
        exported(path.parent)


def test_a_newer_one(path: Path) -> None:
    with opened(path):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NewerHistoryError):
        exported(path)


def test_a_damaged_one(path: Path) -> None:
    with opened(path) as log:
        for number in range(50):
            log.append(f"room {number}", "n", ["x" * 1000], AT)
        log.commit()
    with path.open("r+b") as file:
        file.seek(4096 * 9)
        file.write(b"\xa5" * 65536)
    with pytest.raises(UnusableHistoryError, match="the file is damaged"):
        exported(path)


KILLED = """
import os, signal, sys
from selchat.log.sqlite import Retention, SqliteLog
log = SqliteLog(sys.argv[1], Retention())
log.append("lobby", "me", ["x"] * 100, 0)
log.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_whose_server_was_killed(path: Path) -> None:
    with script(KILLED, path) as process:
        assert process.wait() == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    assert len(exported(path)) == 100
    aside = path.with_name("aside")
    for suffix in ("", "-wal"):  # and the machine was switched off
        shutil.copyfile(f"{path}{suffix}", f"{aside}{suffix}")
    assert len(exported(aside)) == 100
    with opened(path) as log:
        assert log.last_seq("lobby") == 100


# -- the command ---------------------------------------------------------------------------------------------


def options(path: Path | None = None, **more: str) -> dict[str, Any]:
    given = {
        "--room": None,
        "--since": None,
        "--format": "text",
        "--history": None if path is None else str(path),
    }
    return given | {f"--{name}": value for name, value in more.items()}


RUN = "import sys; from selchat.commands.export import main; sys.exit(main(eval(sys.argv[1])))"


def command(path: Path, **more: str) -> list[str]:
    return [sys.executable, "-c", RUN, repr(options(path, **more))]


def test_the_command(path: Path, log: SqliteLog, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    say(log, "lobby", "Venkat", "old", now - 7300)
    say(log, "lobby", "Venkat", "new", now)
    say(log, "attic", "Venkat", "elsewhere", now)
    assert main(options(path, since="2h", room="lobby", format="jsonl")) == 0
    captured = capsys.readouterr()
    assert bodies(captured.out.splitlines()) == ["new"]
    assert captured.err == ""


def test_the_history_is_where_it_always_is(capsys: pytest.CaptureFixture[str]) -> None:
    from selchat.paths import history_path

    with pytest.raises(NoHistoryError):
        main(options())
    with opened(history_path()) as log:
        say(log, "lobby", "Venkat", "hello")
    assert main(options()) == 0
    assert capsys.readouterr().out == "2026-11-23 16:03:05 [lobby] Venkat > hello\n"


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"format": ""}, {"since": "yesterday"}, {"since": ""}])
def test_wrong_options(path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(SettingError) as caught:
        main(options(path, **wrong))
    assert [caught.value.name] == [f"--{name}" for name in wrong]


@pytest.fixture
def long(path: Path) -> Path:
    with opened(path) as log:
        log.append("lobby", "Venkat", ["hello " * 20] * 20_000, AT)
        log.commit()
    return path


def test_a_broken_pipe_is_silent(long: Path) -> None:
    with subprocess.Popen(command(long), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_ctrl_c_is_silent(long: Path) -> None:
    with subprocess.Popen(command(long), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # and it is held up by the rest
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110
def test_an_output_that_takes_nothing(long: Path, log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputError, match="cannot write what is exported: no space left on device"):
            main(options(long))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_in_any_encoding(path: Path, encoding: str) -> None:
    with opened(path) as log:
        say(log, "lobby", "Zoë", "नमस्ते")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    lines = [
        subprocess.run(
            command(path, format=format), stdout=subprocess.PIPE, env=environment, check=True
        ).stdout
        for format in ("text", "jsonl")
    ]
    expected = "[lobby] Zoë > नमस्ते\n".encode(encoding, "backslashreplace")
    assert lines[0].endswith(expected)
    assert json.loads(lines[1].decode())["from"] == "Zoë"


def test_progress_is_told_when_it_takes_a_while() -> None:
    now = [0.0]
    terminal = io.StringIO()
    progress = Progress(terminal, lambda: now[0])
    for second, written in ((1, 1000), (1.9, 2000), (2, 3000), (2.1, 4000), (2.3, 1_234_567)):
        now[0] = second
        progress(written)
    progress.close()
    assert terminal.getvalue() == "\r3,000 messages\r1,234,567 messages\n"


def test_what_is_quick_needs_no_progress() -> None:
    terminal = io.StringIO()
    progress = Progress(terminal)
    progress(1)
    progress.close()
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "ago"),
    [("2h", 7200), ("7d", 604_800), ("30 m", 1800), ("1.5H", 5400), ("10s", 10), ("1w", 604_800), ("0d", 0)],
)
def test_how_long_ago(text: str, ago: float) -> None:
    assert parse_since(text, AT) == AT - ago


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23", "2026-11-22T22:00:00+00:00"),
        ("2026-11-23T14:03", "2026-11-23T12:03:00+00:00"),
        (" 2026-11-23 14:03:05 ", "2026-11-23T12:03:05+00:00"),
        ("2026-11-23T14:03:05Z", "2026-11-23T14:03:05+00:00"),
        ("2026-11-23T14:03:05.125+05:30", "2026-11-23T08:33:05.125+00:00"),
    ],
)
def test_a_date_or_a_time(text: str, moment: str) -> None:
    assert parse_since(text, AT) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "-2h", "2026", "23.11.2026", "2026-13-01", "14:03", "2 months", "99999-01-01", "\0"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_since(text, AT)
    assert (caught.value.name, caught.value.value) == ("--since", text)


@pytest.mark.parametrize(
    "text", ["0001-01-01", "9999-12-31T23:59:59", "0001-01-01T00:00+23:59", "999999999w"]
)
def test_the_ends_of_time(log: SqliteLog, path: Path, text: str) -> None:
    try:
        since = parse_since(text, AT)
    except SettingError:
        return  # some systems cannot say when that was in local time
    say(log, "lobby", "n", "x")
    assert len(exported(path, "text", None, since)) == (since < AT)


def test_ciphertext_is_for_programs_only() -> None:
    line = Line("lobby", 1, 0.0, "Venkat", "v-1", "selchat1 AAAA 1 BBBB", "Zm9v" * 1000)
    assert module._as_text(line).endswith("[lobby] Venkat > (encrypted)\n")
    found = json.loads(module._as_json(line))
    assert (found["cipher"], found["body"]) == (line.cipher, line.body), "someone may have the passphrase"
    assert module._as_text(line._replace(cipher="selchat1")).count("Zm9v") == 1000
