"""Where a client has the password from, and how it is asked for until one fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from selchat.client.events import Refused
from selchat.client.password import PasswordFileError, given_password, run_with_password
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError
from tests.client.support import settings
from tests.client.test_asking import Person

NEEDED = Refused("password-needed", "this server requires a password")
WRONG = Refused("wrong-password", "that is not \x1b[31mthe password of this server")


class Program:
    """One that a server lets in with the right password."""

    def __init__(self, settings: ClientSettings) -> None:
        self.password = settings.password
        self.password_refusal: Refused | None = None

    def run(self) -> int:
        if self.password == "tea at four":
            return 42
        self.password_refusal = WRONG if self.password else NEEDED
        return 0


def test_it_is_asked_for_until_it_fits() -> None:
    person = Person("", "x" * 257, "tea", "tea at four")
    assert run_with_password(Program, settings(), person.ask, person.screen.append) == 42
    assert person.screen == [
        "Password: ",
        "That is not a line of 1 to 256 characters.",
        "Password: ",
        "That is not a line of 1 to 256 characters.",
        "Password: ",
        "The server said: that is not \\x1b[31mthe password of this server.",
        "Password: ",
    ]


def test_what_is_given_and_right_is_not_asked_for() -> None:
    person = Person()
    given = settings(password="tea at four")
    assert run_with_password(Program, given, person.ask, person.screen.append) == 42
    assert person.screen == []


def test_who_does_not_answer_leaves() -> None:
    person = Person()
    assert run_with_password(Program, settings(), person.ask, person.screen.append) == 1
    assert person.screen == ["Password: "]


@pytest.mark.parametrize(
    ("password", "said"),
    [("", "this server requires a password"), ("tea", "that is not \\x1b[31mthe password of this server")],
)
def test_without_a_terminal_it_is_one_line(password: str, said: str) -> None:
    lines: list[str] = []
    assert run_with_password(Program, settings(password=password), None, lines.append) == 1
    assert lines == [f"selchat: the server said: {said}; --password-file or SELCHAT_PASSWORD can give one"]


def test_a_file_goes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes("Thé à 4 \r\nand more\n".encode())
    environment = {"SELCHAT_PASSWORD": "tea"}
    assert given_password(str(file), environment) == "Thé à 4 "
    assert given_password(None, environment) == "tea"
    assert given_password(None, {"SELCHAT_PASSWORD": ""}) == ""
    assert given_password(None, {}) == ""


def test_what_is_wrong_with_a_file_or_the_environment(tmp_path: Path) -> None:
    with pytest.raises(PasswordFileError) as caught:
        given_password(str(tmp_path / "none"), {})
    assert str(caught.value).endswith("none: no such file or directory")
    for data in (b"", b"\nsecond line", b"\xff", b"x" * 5000):
        file = tmp_path / "password"
        file.write_bytes(data)
        with pytest.raises(SettingError):
            given_password(str(file), {"SELCHAT_PASSWORD": "tea"})
    with pytest.raises(SettingError) as refused:
        given_password(None, {"SELCHAT_PASSWORD": "hunter2" * 50})
    assert "hunter2" not in str(refused.value)
