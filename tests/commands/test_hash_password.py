"""``selchat hash-password``: it prints one line, and never shows the password."""

from __future__ import annotations

import io
import sys

import pytest

from selchat import cli
from selchat.auth.password import PasswordHash
from selchat.commands import hash_password
from selchat.commands.hash_password import PasswordsDifferError
from selchat.errors import SettingError


class Typist:
    """Types one answer after the other, and then closes the input."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str) -> str:
        self.questions.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def test_a_terminal_is_asked_twice(capsys: pytest.CaptureFixture[str]) -> None:
    typist = Typist("tea at four", "tea at four")
    assert hash_password.main(True, typist) == 0
    assert typist.questions == ["Password: ", "Again: "]
    out, err = capsys.readouterr()
    assert PasswordHash.parse(out.rstrip("\n")).matches("tea at four")
    assert err == ""


def test_different_or_missing_passwords_make_no_hash(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PasswordsDifferError):
        hash_password.main(True, Typist("tea at four", "tea at five"))
    with pytest.raises(SettingError):
        hash_password.main(True, Typist(""))
    assert hash_password.main(True, Typist("tea at four")) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("data", "password"),
    [(b"tea at four\nand the rest", "tea at four"), (b"tea\r\n", "tea"), ("Thé".encode(), "The\u0301")],
)
def test_other_input_is_read_to_the_end_of_the_first_line(
    data: bytes, password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert cli.main(["hash-password"]) == 0
    assert PasswordHash.parse(capsys.readouterr().out.strip()).matches(password)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\n", b"x" * 257, b"x" * 10_000])
def test_an_invalid_password_is_a_one_line_error_without_it(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert cli.main(["hash-password"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "xx" not in err


def test_the_help_mentions_the_command_which_takes_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "selchat hash-password" in capsys.readouterr().out
    assert cli.main(["hash-password", "--help"]) == 0
    assert "not shown" in capsys.readouterr().out
    assert cli.main(["hash-password", "hunter2"]) == 2
