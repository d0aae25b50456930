"""``selchat hash-password``: asks, prints one line, and shows the password nowhere."""

from __future__ import annotations

import io
import sys

import pytest

from selchat import cli
from selchat.auth.password import PasswordHash
from selchat.commands import hash_password as hashing
from selchat.commands.hash_password import NotTheSameError
from selchat.errors import SettingError


class CommandRunner:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def test_it_asks_twice_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    typist = CommandRunner("tea at four", "tea at four")
    assert hashing.main(True, typist) == 0
    assert typist.asked == ["Password: ", "Again: "]
    out, err = capsys.readouterr()
    assert PasswordHash.parse(out.rstrip("\n")).matches("tea at four")
    assert err == ""


def test_what_is_typed_differently_or_not_at_all_makes_no_hash(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotTheSameError):
        hashing.main(True, CommandRunner("tea at four", "tea at five"))
    with pytest.raises(SettingError):
        hashing.main(True, CommandRunner(""))
    assert hashing.main(True, CommandRunner("tea at four")) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("data", "password"),
    [(b"tea at four\nand the rest", "tea at four"), (b"tea\r\n", "tea"), ("Thé".encode(), "The\u0301")],
)
def test_elsewhere_it_reads_one_line(
    data: bytes, password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert cli.main(["hash-password"]) == 0
    assert PasswordHash.parse(capsys.readouterr().out.strip()).matches(password)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\n", b"x" * 257, b"x" * 10_000])
def test_what_cannot_be_a_password_is_one_line_that_does_not_tell_it(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert cli.main(["hash-password"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "xx" not in err


def test_it_is_in_the_help_and_takes_no_password_as_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "selchat hash-password" in capsys.readouterr().out
    assert cli.main(["hash-password", "--help"]) == 0
    assert "not shown" in capsys.readouterr().out
    assert cli.main(["hash-password", "hunter2"]) == 2
