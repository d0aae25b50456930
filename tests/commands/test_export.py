from __future__ import annotations

import io
import json
import os
import re
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
from hypothesis import given, settings
from hypothesis import strategies as st

from selchat.commands.export import (
    DamagedHistoryError,
    Line,
    NoHistoryError,
    OutputError,
    Progress,
    UnknownRoomError,
    export,
    format_json,
    format_text,
    main,
    parse_since,
)
from selchat.errors import SettingError
from selchat.events import CIPHER_PREFIX
from selchat.log.errors import HistoryError, NewerHistoryError, NotAHistoryError, UnusableHistoryError
from selchat.log.sqlite import SqliteLog
from tests.log.support import opened, script

AT = datetime(2026, 11, 23, 14, 3, 5, 125_000, UTC).timestamp()


@pytest.fixture(autouse=True)
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone to two hours east of Greenwich."""
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


def test_messages_are_exported_as_text(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "hello")
    say(log, "engine-room", "नारायण", "नमस्ते 👋", AT + 3600)
    say(log, "lobby", "Venkat", "0xbeef", AT + 86_400, ciphers=["aes-gcm"])
    assert exported(path) == [
        "2026-11-23 16:03:05 [lobby] Venkat > hello",
        "2026-11-23 17:03:05 [engine-room] नारायण > नमस्ते 👋",
        "2026-11-24 16:03:05 [lobby] Venkat > (encrypted: aes-gcm) 0xbeef",
    ]


def test_messages_are_exported_as_json(log: SqliteLog, path: Path) -> None:
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


def test_a_body_with_line_feeds_cannot_forge_a_message(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "one\n2026-11-23 16:03:05 [lobby] Michael > two\n\n\r\nlast\n")
    assert exported(path) == [
        "2026-11-23 16:03:05 [lobby] Venkat > one",
        "    2026-11-23 16:03:05 [lobby] Michael > two",
        "    ",
        "    \\r",
        "    last",
        "    ",
    ]


def test_control_characters_are_escaped(log: SqliteLog, path: Path) -> None:
    nasty = "\x1b[2J\x07\x00\x7f\x9b\x85\u2028\u2029\u202e\v\f\r\t\U000e0001"
    say(log, "lo\nbby", "Ven\x1bkat\n", nasty, ids=[nasty], ciphers=[nasty])
    [text] = exported(path)
    [line] = exported(path, "jsonl")
    assert text.isprintable()
    assert line.isprintable()
    assert '["lo\\nbby"] "Ven\\u001bkat\\n" > (encrypted: "\\u001b[2J' in text
    message = json.loads(line)
    assert (message["room"], message["from"]) == ("lo\nbby", "Ven\x1bkat\n")
    assert message["body"] == message["id"] == message["cipher"] == nasty


@given(
    st.builds(
        Line, st.text(), st.integers(1), st.just(AT), st.text(), st.text(), st.none() | st.text(), st.text()
    )
)
def test_every_message_is_one_printable_line_of_json(line: Line) -> None:
    text = format_json(line)
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


# -- the text can be parsed --------------------------------------------------------------------------------

HEAD = re.compile(
    r'(?P<time>[-0-9 :?]{19}) \[(?P<room>"(?:[^"\\]|\\.)*"|[^]["\\]+)\] '
    r'(?P<author>"(?:[^"\\]|\\.)*"|[^>"\\]+) > '
    r'(?P<mark>\(encrypted(?:: (?P<cipher>"(?:[^"\\]|\\.)*"|[^()"\\]+)\) |\)$))?(?P<body>.*)'
)
ESCAPE = re.compile(r"\\([\\(nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def unquoted(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def unescaped(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        found = match[1]
        return {"n": "\n", "r": "\r", "t": "\t"}.get(found) or (
            chr(int(found[1:], 16)) if len(found) > 1 else found
        )

    return ESCAPE.sub(replace, text)


def parsed(text: str) -> list[tuple[str, str, str | None, str]]:
    """Return the room, author, cipher and body of each message in the text output."""
    found: list[tuple[str, str, str | None, str]] = []
    for line in text.split("\n")[:-1]:
        if line.startswith("    "):
            room, author, cipher, body = found.pop()
            found.append((room, author, cipher, f"{body}\n{unescaped(line[4:])}"))
            continue
        match = HEAD.fullmatch(line)
        assert match is not None, line
        cipher = None if match["mark"] is None else unquoted(match["cipher"] or '"e2ee"')
        found.append((unquoted(match["room"]), unquoted(match["author"]), cipher, unescaped(match["body"])))
    return found


NASTY = [
    *(
        "(encrypted)",
        "(encrypted: toy) ",
        "(not encrypted) ",
        "\\(encrypted) x",
        "Venkat",
        "Server",
        "> ",
        " > ",
    ),
    *("[lobby]", "2026-11-23 16:03:05 [lobby] Venkat > hi", '"', "\\", "\\x1b", "\x1b", "\n", "\r", "\x85"),
    *("\u2028", "\u202e", "    ", ":", "]", "[", "\\n", "\\\\", "x", "u", "n", "ä", "\U0001f44b", "\u200d"),
]
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=6).map("".join)
LINE = st.builds(Line, TEXT, st.just(1), st.just(AT), TEXT, st.just(""), st.none() | TEXT, TEXT)


@settings(max_examples=500)
@given(st.lists(LINE, max_size=4))
def test_the_text_parses_back_to_who_sent_what(lines: list[Line]) -> None:
    lines = [line for line in lines if not (line.cipher or "").startswith(CIPHER_PREFIX)]
    text = "".join(map(format_text, lines))
    assert parsed(text) == [(line.room, line.author, line.cipher, line.body) for line in lines]
    assert not any(character in text for character in "\x00\x1b\r\x7f\x85\u2028\u2029\u202e")
    assert len(text.splitlines()) == text.count("\n")


@pytest.mark.parametrize(
    ("author", "body", "shown"),
    [
        ("Venkat > I quit", "x", '"Venkat > I quit" > x'),
        ("Venkat", "(encrypted)", "Venkat > \\(encrypted)"),
        ("Venkat", "see (encrypted)", "Venkat > see (encrypted)"),
        ("Venkat", "C:\\dir\\temp", "Venkat > C:\\dir\\\\temp"),
        ("", "x", '"" > x'),
        (" Venkat", "x", '" Venkat" > x'),
        ("Ven\\x1bkat", "x", '"Ven\\\\x1bkat" > x'),
        ("Table for two (lab)", "x", "Table for two (lab) > x"),
    ],
)
def test_only_ambiguous_texts_are_quoted_or_escaped(author: str, body: str, shown: str) -> None:
    text = format_text(Line("lobby", 1, AT, author, "", None, body))
    assert text == f"2026-11-23 16:03:05 [lobby] {shown}\n"


def test_all_rooms_in_order_of_arrival_or_one_room(log: SqliteLog, path: Path) -> None:
    for number in range(9):
        say(log, ("Lobby", "attic", "@venkat")[number % 3], "n", str(number), AT + number)
    assert bodies(exported(path, "jsonl")) == ["0", "1", "3", "4", "6", "7"]
    assert bodies(exported(path, "jsonl", "attic")) == ["1", "4", "7"]
    assert bodies(exported(path, "jsonl", "#LOBBY")) == ["0", "3", "6"]


def test_direct_messages_are_not_exported(log: SqliteLog, path: Path) -> None:
    say(log, "@venkat", "Michael", "a secret")
    assert exported(path) == []
    for room in ("@venkat", "@VENKAT", "#@venkat", "venkat"):
        with pytest.raises(UnknownRoomError) as caught:
            exported(path, "text", room)
        assert "secret" not in str(caught.value)
    with pytest.raises(UnknownRoomError, match="direct messages are not exported"):
        exported(path, "text", "@venkat")


def test_an_unknown_room_raises_an_error_that_lists_the_rooms(log: SqliteLog, path: Path) -> None:
    with pytest.raises(UnknownRoomError, match="there is no room lobby; the rooms are: none"):
        exported(path, "text", "lobby")
    for number in range(3):
        say(log, f"room{2 - number}", "n", "x")
    with pytest.raises(UnknownRoomError, match=r"no room lobby; the rooms are: room0, room1, room2$"):
        exported(path, "text", "lobby")
    for number in range(100):
        say(log, f"{number}", "n", "x")
    with pytest.raises(UnknownRoomError, match=r", 52, 53 and 53 more$"):
        exported(path, "text", "lobby")


def test_since_skips_older_messages(log: SqliteLog, path: Path) -> None:
    for number in range(5):
        say(log, "lobby", "n", str(number), AT + number)
    assert bodies(exported(path, "jsonl", None, AT + 2)) == ["2", "3", "4"]
    assert bodies(exported(path, "jsonl", "lobby", AT + 3.5)) == ["4"]
    assert exported(path, "jsonl", "lobby", AT + 9) == []


@pytest.mark.parametrize("room", [None, "lobby"])
def test_messages_that_arrive_during_the_export_are_left_out(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch, room: str | None
) -> None:
    log.append("lobby", "n", [str(number) for number in range(3500)], AT)
    log.append("@venkat", "n", ["whisper"] * 2500, AT)
    log.append("lobby", "n", [str(number) for number in range(3500, 4000)], AT)
    log.commit()
    seen = []

    class Busy(io.StringIO):
        """Sends another message for each batch that it gets."""

        def writelines(self, lines: Any) -> None:
            super().writelines(lines)
            say(log, "lobby", "n", "later")

    out = Busy()
    export(path, room, None, "jsonl", out, progress=seen.append)
    assert bodies(out.getvalue().split("\n")[:-1]) == [str(number) for number in range(4000)]
    assert len(seen) > 3
    assert seen[-1] == 4000


def test_a_slow_reader_does_not_block_checkpoints(log: SqliteLog, path: Path) -> None:
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


# -- errors in the file ------------------------------------------------------------------------------------


def test_a_missing_file_is_not_created(path: Path) -> None:
    with pytest.raises(NoHistoryError, match=r"there is no history file .*; give its path with --history="):
        exported(path)
    with pytest.raises(NoHistoryError):
        exported(path / "below")
    assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the lock on the file itself needs Linux")
def test_other_name_of_a_file_in_use_is_refused(log: SqliteLog, path: Path) -> None:
    say(log, "lobby", "Venkat", "hi")
    other, symbolic = path.with_name("hard link"), path.with_name("symbolic link")
    other.hardlink_to(path)
    symbolic.symlink_to(path)
    with pytest.raises(UnusableHistoryError, match="under another name"):
        exported(other)
    assert not path.with_name("hard link-wal").exists()
    assert len(exported(path)) == len(exported(symbolic)) == 1
    log.close()
    assert len(exported(other)) == 1


def test_other_files_are_rejected_and_unchanged(path: Path) -> None:
    for content in (b"", b"no database " * 999):
        path.write_bytes(content)
        with pytest.raises(NotAHistoryError):
            exported(path)
        assert path.read_bytes() == content
    with pytest.raises(HistoryError):
        exported(path.parent)


def test_a_history_of_a_newer_version_is_rejected(path: Path) -> None:
    with opened(path):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NewerHistoryError):
        exported(path)


def damage(path: Path, body: str) -> None:
    """Overwrite the page of the message with this body."""
    content = path.read_bytes()
    page = content.index(body.encode()) // 4096 * 4096
    path.write_bytes(content[:page] + b"\xa5" * 4096 + content[page + 4096 :])


def exported_around_damage(path: Path, room: str | None = None) -> tuple[list[str], str]:
    out = io.StringIO()
    with pytest.raises(DamagedHistoryError) as caught:
        export(path, room, None, "jsonl", out)
    return bodies(out.getvalue().split("\n")[:-1]), str(caught.value)


@pytest.mark.parametrize("room", [None, "lobby"])
def test_a_damaged_history_is_exported_as_far_as_possible(path: Path, room: str | None) -> None:
    with opened(path) as log:
        for number in range(3000):
            log.append(("lobby", "@venkat")[number % 7 == 3], "n", [f"{number} ".ljust(100, "x")], AT)
        log.commit()
    for body in ("501 xx", "1500 xx", "1530 xx", "2998 xx"):
        damage(path, body)
    found, error = exported_around_damage(path, room)
    lost = {number for number in range(3000) if number % 7 != 3} - {int(body.split()[0]) for body in found}
    assert {501, 1500, 1530, 2998} <= lost
    assert 20 < len(lost) < 150
    assert len(set(found)) == len(found)
    seqs = {number: number + 1 - sum(other % 7 == 3 for other in range(number)) for number in lost}
    ranges = re.findall(r"lobby: ([0-9]+) to ([0-9]+)", error)
    reported = {seq for first, last in ranges for seq in range(int(first), int(last) + 1)}
    assert reported == set(seqs.values())
    assert f"is damaged: {len(lost)} messages cannot be read (lobby: " in error
    assert "venkat" not in error


def test_messages_of_a_damaged_index_are_exported(path: Path) -> None:
    with opened(path) as log:
        for number in range(2000):
            log.append("lobby", "n", [f"{number}"], AT)
        log.commit()
    with sqlite3.connect(path) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message_by_room'").fetchall()
    db.close()
    content = path.read_bytes()
    path.write_bytes(content[: (page - 1) * 4096] + bytes(4096) + content[page * 4096 :])
    everything = [f"{number}" for number in range(2000)]
    assert bodies(exported(path, "jsonl")) == everything
    assert bodies(exported(path, "jsonl", "lobby")) == everything


def test_a_history_without_its_end_is_exported(path: Path) -> None:
    with opened(path) as log:
        log.append("lobby", "n", [f"{number} ".ljust(100, "x") for number in range(3000)], AT)
        log.commit()
    os.truncate(path, path.stat().st_size // 2)
    found, error = exported_around_damage(path)
    assert len(found) > 1000
    assert f"{3000 - len(found)} messages cannot be read" in error


def test_messages_whose_room_is_unknown_are_not_exported(path: Path) -> None:
    with opened(path) as log:
        log.append("lobby", "n", ["hello"], AT)
        log.append("@venkat", "n", ["a secret"], AT)
        log.commit()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM room WHERE name = '@venkat'")
    db.close()
    found, error = exported_around_damage(path)
    assert found == ["hello"]
    assert error.endswith("is damaged: 1 message cannot be read (1 whose room cannot be read)")


@pytest.mark.parametrize("at", [1e300, -1e300, 1e18, float("inf")])
def test_absurd_times_are_exported(path: Path, at: float) -> None:
    with opened(path) as log:
        say(log, "lobby", "n", "hello", at)
    assert exported(path)[0].endswith("[lobby] n > hello")
    assert json.loads(exported(path, "jsonl")[0])["at"] is None


def test_the_command_reports_damage_after_its_output(path: Path) -> None:
    with opened(path) as log:
        log.append("lobby", "n", [f"{number} ".ljust(100, "x") for number in range(300)], AT)
        log.commit()
    damage(path, "150 xx")
    done = subprocess.run(
        [sys.executable, "-m", "selchat", "export", f"--history={path}"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout.count("\n") > 200
    assert re.fullmatch(
        r"selchat: the history .* is damaged: \d+ messages cannot be read \(lobby: \d+ to \d+\)\n",
        done.stderr,
    )


KILLED = """
import os, signal, sys
from selchat.log.sqlite import Retention, SqliteLog
log = SqliteLog(sys.argv[1], Retention())
log.append("lobby", "me", ["x"] * 100, 0)
log.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_history_of_a_killed_server_is_complete(path: Path) -> None:
    with script(KILLED, path) as process:
        assert process.wait() == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    assert len(exported(path)) == 100
    aside = path.with_name("aside")
    for suffix in ("", "-wal"):  # as after a power loss: without the shared-memory file
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
        "--port": None,
        "--history": None if path is None else str(path),
    }
    return given | {f"--{name}": value for name, value in more.items()}


RUN = "import sys; from selchat.commands.export import main; sys.exit(main(eval(sys.argv[1])))"


def command(path: Path, **more: str) -> list[str]:
    return [sys.executable, "-c", RUN, repr(options(path, **more))]


def test_the_command_filters_and_prints(
    path: Path, log: SqliteLog, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    say(log, "lobby", "Venkat", "old", now - 7300)
    say(log, "lobby", "Venkat", "new", now)
    say(log, "attic", "Venkat", "elsewhere", now)
    assert main(options(path, since="2h", room="lobby", format="jsonl")) == 0
    captured = capsys.readouterr()
    assert bodies(captured.out.splitlines()) == ["new"]
    assert captured.err == ""


def test_the_default_history_is_in_the_data_folder(capsys: pytest.CaptureFixture[str]) -> None:
    from selchat.paths import history_path

    with pytest.raises(NoHistoryError):
        main(options())
    with opened(history_path()) as log:
        say(log, "lobby", "Venkat", "hello")
    assert main(options()) == 0
    assert capsys.readouterr().out == "2026-11-23 16:03:05 [lobby] Venkat > hello\n"


def test_port_selects_the_history_of_that_server(capsys: pytest.CaptureFixture[str]) -> None:
    from selchat.paths import history_path

    for port in (33000, 4711):
        with opened(history_path(port)) as log:
            say(log, "lobby", "Venkat", f"on {port}")
    assert main(options(port="4711")) == 0
    assert main(options(port="33000")) == 0
    assert [line[-4:] for line in capsys.readouterr().out.splitlines()] == ["4711", "3000"]
    with pytest.raises(NoHistoryError, match=r"history-1234\.sqlite"):
        main(options(port="1234"))
    for port in ("", "0", "65536", "-1", "x", "033000000", "\u0664"):
        with pytest.raises(SettingError, match=r"--port: .* is not a port number from 1 to 65535"):
            main(options(port=port))
    with pytest.raises(SettingError, match=r"--port: .* is not possible together with --history"):
        main(options(Path("x"), port="4711"))


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"format": ""}, {"since": "yesterday"}, {"since": ""}])
def test_invalid_options_raise(path: Path, wrong: dict[str, str]) -> None:
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
        process.stdout.readline()  # the full pipe blocks it now
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110
def test_a_full_disk_for_the_output_raises_an_error(
    long: Path, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputError, match="cannot write the output: no space left on device"):
            main(options(long))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_uses_the_encoding_of_the_output_and_json_utf_8(path: Path, encoding: str) -> None:
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


def test_progress_appears_after_two_seconds() -> None:
    now = [0.0]
    terminal = io.StringIO()
    progress = Progress(terminal, lambda: now[0])
    for second, written in ((1, 1000), (1.9, 2000), (2, 3000), (2.1, 4000), (2.3, 1_234_567)):
        now[0] = second
        progress(written)
    progress.close()
    assert terminal.getvalue() == "\r3,000 messages\r1,234,567 messages\n"


def test_a_quick_export_shows_no_progress() -> None:
    terminal = io.StringIO()
    progress = Progress(terminal)
    progress(1)
    progress.close()
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "ago"),
    [("2h", 7200), ("7d", 604_800), ("30m", 1800), ("1h30m", 5400), ("10s", 10), ("1w", 604_800), ("0d", 0)],
)
def test_since_takes_a_time_span(text: str, ago: float) -> None:
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
def test_since_takes_a_date_or_a_time(text: str, moment: str) -> None:
    assert parse_since(text, AT) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "-2h", "2026", "23.11.2026", "2026-13-01", "14:03", "2 months", "99999-01-01", "\0"],
)
def test_since_rejects_other_texts(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_since(text, AT)
    assert (caught.value.name, caught.value.value) == ("--since", text)


def test_since_names_the_bound_of_a_time_span() -> None:
    with pytest.raises(SettingError, match="is not a time of up to ten years"):
        parse_since("99999d", AT)


@given(st.text() | st.from_regex(r"[0-9 .smhdwy:T+Z-]{0,30}", fullmatch=True))
def test_since_takes_or_rejects_any_text(text: str) -> None:
    try:
        moment = parse_since(text, AT)
    except SettingError as error:
        assert (error.name, error.value) == ("--since", text)
        assert "\n" not in str(error)
    else:
        assert parse_since(datetime.fromtimestamp(moment, UTC).isoformat(), AT) == pytest.approx(
            moment, abs=1e-5
        )


@pytest.mark.parametrize("part", ["1h", "9", "9h ", "2026-11-23T", " ", "-", "1.5", "h", "1 ", "\t1h"])
def test_since_rejects_a_long_text(part: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_since(part * (65_536 // len(part)), AT)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["0001-01-01", "9999-12-31T23:59:59", "0001-01-01T00:00+23:59", "999999999w"]
)
def test_since_takes_extreme_times(log: SqliteLog, path: Path, text: str) -> None:
    try:
        since = parse_since(text, AT)
    except SettingError:
        return  # some systems cannot convert this local time
    say(log, "lobby", "n", "x")
    assert len(exported(path, "text", None, since)) == (since < AT)


def test_text_hides_ciphertext_and_json_contains_it() -> None:
    line = Line("lobby", 1, 0.0, "Venkat", "v-1", "selchat1 AAAA 1 BBBB", "Zm9v" * 1000)
    assert format_text(line).endswith("[lobby] Venkat > (encrypted)\n")
    found = json.loads(format_json(line))
    assert (found["cipher"], found["body"]) == (line.cipher, line.body), "a program may have the passphrase"
    assert format_text(line._replace(cipher="selchat1")).count("Zm9v") == 1000
