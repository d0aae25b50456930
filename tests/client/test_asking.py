from __future__ import annotations

import getpass
import io

import pytest

from selchat.client import asking
from selchat.client.asking import Given, HostNeededError, ask_for_rest, ask_on, settings_of, split_host
from selchat.errors import SettingError
from selchat.wire.frames import FrameTooLongError


class Person:
    """Answers questions in turn, and remembers what was on the screen."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.screen: list[str] = []

    def ask(self, question: str) -> str:
        self.screen.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def test_the_papers_dialogue() -> None:
    person = Person("Michael", "192.168.43.158", "1024")
    settings = ask_for_rest(Given(), person.ask, person.screen.append)
    assert person.screen == [
        "Welcome To the Chat Room !",
        "Username: ",
        "Enter Server IP: ",
        "Encryption Key: ",
    ]
    assert (settings.name, settings.host, settings.port, settings.key) == (
        "Michael",
        "192.168.43.158",
        33000,
        "1024",
    )


def test_what_is_given_is_not_asked() -> None:
    person = Person("lab:1", "12")
    settings = ask_for_rest(Given(name="A", port=1), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Enter Server IP: ", "Encryption Key: "]
    assert (settings.name, settings.host, settings.port, settings.key) == ("A", "lab", 1, "12")
    settings = ask_for_rest(Given(name="", host="lab", key=""), person.ask, person.screen.append)
    assert len(person.screen) == 3
    assert (settings.name, settings.port, settings.key) == ("", 33000, None)


def test_whoever_gives_the_host_is_not_asked_for_the_paper_s_key() -> None:
    person = Person("A")
    settings = ask_for_rest(Given(host="lab"), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Username: "]
    assert (settings.name, settings.host, settings.key) == ("A", "lab", None)


def test_what_is_typed_wrong_is_asked_again() -> None:
    person = Person("", "", "lab:0", "lab:x", " lab:7 ", "12a", "\u0663", "")
    settings = ask_for_rest(Given(), person.ask, person.screen.append)
    assert person.screen[2:] == [
        "Enter Server IP: ",
        "'' is not a host, HOST:PORT or [IPv6]:PORT.",
        "Enter Server IP: ",
        "'lab:0' is not at a port from 1 to 65535.",
        "Enter Server IP: ",
        "'lab:x' is not a host, HOST:PORT or [IPv6]:PORT.",
        "Enter Server IP: ",
        "Encryption Key: ",
        "'12a' is not a run of decimal digits.",
        "Encryption Key: ",
        "'\u0663' is not a run of decimal digits.",
        "Encryption Key: ",
    ]
    assert (settings.name, settings.host, settings.port, settings.key) == ("", "lab", 7, None)


def test_what_is_given_wrong_is_an_error_before_anything_is_asked() -> None:
    person = Person()
    with pytest.raises(SettingError):
        ask_for_rest(Given(key="x"), person.ask, person.screen.append)
    assert person.screen == []


def test_the_end_of_the_input() -> None:
    with pytest.raises(EOFError):
        ask_for_rest(Given(), Person("A").ask, lambda line: None)


def test_defaults_where_nothing_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "rishabh")
    settings = settings_of(Given(host="lab"))
    assert (settings.name, settings.port, settings.key) == ("rishabh", 33000, None)

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert settings_of(Given(host="lab")).name == ""
    for host in (None, ""):
        with pytest.raises(HostNeededError, match="HOST is needed when input is not a terminal"):
            settings_of(Given(host=host))


@pytest.mark.parametrize(
    "given",
    [
        Given(host="lab", key="x"),
        Given(host="lab", port=0),
        Given(host="lab", port=65536),
        Given(host="lab:0"),
        Given(host="lab:1", port=2),
        Given(host="lab", header_length=0),
    ],
)
def test_settings_out_of_range(given: Given) -> None:
    with pytest.raises(SettingError):
        settings_of(given)


def test_the_wire_and_the_room_are_passed_on() -> None:
    person = Person("12")
    settings = ask_for_rest(
        Given(name="A", host="lab", wire="classic", room="engine-room"), person.ask, person.screen.append
    )
    assert (settings.wire, settings.room) == ("classic", "engine-room")
    assert settings_of(Given(name="A", host="lab")).wire == "auto"
    with pytest.raises(SettingError, match="wire: 'x' is not auto, rich or classic"):
        settings_of(Given(name="A", host="lab", wire="x"))


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(FrameTooLongError):
        settings_of(Given(host="lab", name="x" * 10, header_length=1))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("lab", "lab", None),
        ("lab:1", "lab", 1),
        ("192.168.43.158:33000", "192.168.43.158", 33000),
        ("::1", "::1", None),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("[::1]", "::1", None),
        ("[::1]:33000", "::1", 33000),
    ],
)
def test_split_host(text: str, host: str, port: int | None) -> None:
    assert split_host(text) == (host, port)


@pytest.mark.parametrize(
    "text", [":1", "lab:", "lab:x", "lab:\u0661", "lab:123456", "[::1", "[]:1", "[::1]x", "[::1]:", "[::1]:x"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(SettingError):
        split_host(text)


def test_asking_on_streams() -> None:
    screen = io.StringIO()
    ask = ask_on(io.StringIO("Michael\r\nlast"), screen)
    assert [ask("Username: "), ask("? ")] == ["Michael", "last"]
    with pytest.raises(EOFError):
        ask("more? ")
    assert screen.getvalue() == "Username: ? more? \n"


def test_ctrl_c_while_asked_leaves_the_line() -> None:
    class Interrupted(io.StringIO):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    screen = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        ask_on(Interrupted(), screen)("Username: ")
    assert screen.getvalue() == "Username: \n"


def test_is_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert not asking.is_terminal(None)
    assert not asking.is_terminal(closed)
    assert not asking.is_terminal(io.StringIO())
    assert len(asking.standard_terminals()) == 2


def test_with_a_passphrase_there_is_no_key_to_ask_for() -> None:
    person = Person("Michael", "lab")
    settings = ask_for_rest(Given(passphrase="words"), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Username: ", "Enter Server IP: "]
    assert (settings.wire, settings.passphrase, settings.key) == ("selchat", "words", None)
    person = Person()
    ask_for_rest(Given(passphrase="words", name="A", host="lab"), person.ask, person.screen.append)
    assert person.screen == []
    for more in ({"wire": "classic"}, {"key": "12"}, {"header_length": 4}):
        with pytest.raises(SettingError):
            settings_of(Given(passphrase="words", name="A", host="lab", **more))  # type: ignore[arg-type]
    assert "words" not in repr(Given(passphrase="words"))
