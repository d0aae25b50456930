"""The client's settings: prompts, the server's password, and the passphrase."""

from __future__ import annotations

import getpass
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from selchat.client import Client
from selchat.client.events import Refused
from selchat.client.setup import (
    PASSPHRASE_VARIABLE,
    ClientOptions,
    HostRequiredError,
    NameRequiredError,
    PasswordFileError,
    ask_for_missing,
    find_passphrase,
    find_password,
    find_seconds,
    is_about_password,
    is_terminal,
    make_settings,
    password_prompt,
    read_passphrase,
    run_with_password,
    split_host,
    stream_prompt,
)
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError
from selchat.wire.frames import FrameTooLongError
from tests.client.support import settings


class Person:
    """Answers questions in turn, and records the screen."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.screen: list[str] = []

    def ask(self, question: str) -> str:
        self.screen.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def test_prompts_match_the_dialogue_of_the_paper() -> None:
    person = Person("Michael", "192.168.43.158", "1024")
    settings = ask_for_missing(ClientOptions(), person.ask, person.screen.append)
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


def test_given_options_are_not_asked_for() -> None:
    person = Person("lab:1", "12")
    settings = ask_for_missing(ClientOptions(name="A", port=1), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Enter Server IP: ", "Encryption Key: "]
    assert (settings.name, settings.host, settings.port, settings.key) == ("A", "lab", 1, "12")
    settings = ask_for_missing(ClientOptions(name="", host="lab", key=""), person.ask, person.screen.append)
    assert len(person.screen) == 3
    assert (settings.name, settings.port, settings.key) == ("", 33000, None)


def test_with_a_host_the_key_is_not_asked_for() -> None:
    person = Person("A")
    settings = ask_for_missing(ClientOptions(host="lab"), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Username: "]
    assert (settings.name, settings.host, settings.key) == ("A", "lab", None)


def test_a_given_key_is_kept_and_not_asked_for() -> None:
    person = Person("A", "lab")
    settings = ask_for_missing(ClientOptions(key="12"), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Username: ", "Enter Server IP: "]
    assert settings.key == "12"


@pytest.mark.parametrize("port", [1, 65535])
def test_every_port_from_1_to_65535_is_a_valid_answer(port: int) -> None:
    person = Person("A", f"lab:{port}", "")
    assert ask_for_missing(ClientOptions(), person.ask, person.screen.append).port == port
    assert person.screen[-1] == "Encryption Key: "


@pytest.mark.parametrize("port", [0, 65536])
def test_an_answer_with_another_port_is_asked_for_again(port: int) -> None:
    person = Person("A", f"lab:{port}", "lab", "")
    ask_for_missing(ClientOptions(), person.ask, person.screen.append)
    assert person.screen[3] == f"'lab:{port}' is not a host with a port from 1 to 65535."


def test_invalid_answers_are_asked_for_again() -> None:
    person = Person("", "", "lab:0", "lab:x", " lab:7 ", "12a", "\u0663", "")
    settings = ask_for_missing(ClientOptions(), person.ask, person.screen.append)
    assert person.screen[2:] == [
        "Enter Server IP: ",
        "'' is not a host, HOST:PORT or [IPv6]:PORT.",
        "Enter Server IP: ",
        "'lab:0' is not a host with a port from 1 to 65535.",
        "Enter Server IP: ",
        "'lab:x' is not a host, HOST:PORT or [IPv6]:PORT.",
        "Enter Server IP: ",
        "Encryption Key: ",
        "'12a' is not a number in digits 0 to 9.",
        "Encryption Key: ",
        "'\u0663' is not a number in digits 0 to 9.",
        "Encryption Key: ",
    ]
    assert (settings.name, settings.host, settings.port, settings.key) == ("", "lab", 7, None)


def test_an_invalid_option_is_an_error_before_the_first_question() -> None:
    person = Person()
    with pytest.raises(SettingError):
        ask_for_missing(ClientOptions(key="x"), person.ask, person.screen.append)
    assert person.screen == []


def test_the_end_of_the_input_raises_eof() -> None:
    with pytest.raises(EOFError):
        ask_for_missing(ClientOptions(), Person("A").ask, lambda line: None)


def test_defaults_need_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "rishabh")
    settings = make_settings(ClientOptions(host="lab"))
    assert (settings.name, settings.port, settings.key) == ("rishabh", 33000, None)

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(
        NameRequiredError, match=r"^your login name .* is unknown: give a name with --name=NAME$"
    ):
        make_settings(ClientOptions(host="lab"))
    with pytest.raises(NameRequiredError, match="with name="):
        Client("lab")
    monkeypatch.setattr(getpass, "getuser", lambda: " \u200b")  # LOGNAME can be anything
    with pytest.raises(NameRequiredError):
        make_settings(ClientOptions(host="lab"))
    assert make_settings(ClientOptions(host="lab", name="x")).name == "x"
    for host in (None, ""):
        with pytest.raises(HostRequiredError) as caught:
            make_settings(ClientOptions(host=host))
        assert str(caught.value) == "HOST is required when standard input is not a terminal"
        assert caught.value.args == ("HOST", None, "given")


def test_a_port_in_the_host_must_match_the_option() -> None:
    assert make_settings(ClientOptions(host="lab:2", port=2)).port == 2
    with pytest.raises(SettingError, match=r"^HOST: 'lab:1' is not consistent with --port=2$"):
        make_settings(ClientOptions(host="lab:1", port=2))


def test_every_option_reaches_the_settings() -> None:
    options = {"header_length": 12, "wire": "selchat", "tls": "require", "room": "engine-room"}
    secrets = {"password": "tea at four", "passphrase": "three random words"}
    settings = make_settings(ClientOptions(host="lab", port=7, name="A", **options, **secrets))  # type: ignore[arg-type]
    assert {field: getattr(settings, field) for field in options | secrets} == options | secrets
    assert (settings.host, settings.port, settings.name) == ("lab", 7, "A")


@pytest.mark.parametrize(
    "given",
    [
        ClientOptions(host="lab", key="x"),
        ClientOptions(host="lab", port=0),
        ClientOptions(host="lab", port=65536),
        ClientOptions(host="lab:0"),
        ClientOptions(host="lab:1", port=2),
        ClientOptions(host="lab", header_length=0),
    ],
)
def test_settings_out_of_range_are_errors(given: ClientOptions) -> None:
    with pytest.raises(SettingError):
        make_settings(given)


def test_wire_and_room_reach_the_settings() -> None:
    person = Person("12")
    settings = ask_for_missing(
        ClientOptions(name="A", host="lab", wire="classic", room="engine-room"),
        person.ask,
        person.screen.append,
    )
    assert (settings.wire, settings.room) == ("classic", "engine-room")
    assert make_settings(ClientOptions(name="A", host="lab")).wire == "auto"
    with pytest.raises(SettingError, match="wire: 'x' is not auto, selchat or classic"):
        make_settings(ClientOptions(name="A", host="lab", wire="x"))


def test_a_too_long_name_is_an_error() -> None:
    with pytest.raises(FrameTooLongError):
        make_settings(ClientOptions(host="lab", name="x" * 10, header_length=1))


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
    "text",
    [
        "",
        ":1",
        "lab:",
        "lab:x",
        "lab:\u0661",
        "lab:123456",
        "[::1",
        "[]:1",
        "[::1]x",
        "[::1]:",
        "[::1]:x",
        "[::1]]",
        "[::1]]:1",
    ],
)
def test_split_host_rejects_invalid_hosts(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        split_host(text)
    assert str(caught.value) == f"HOST: {text!r} is not a host, HOST:PORT or [IPv6]:PORT"


def test_the_stream_prompt_returns_lines() -> None:
    screen = io.StringIO()
    ask = stream_prompt(io.StringIO("Michael\r\nlast"), screen)
    assert [ask("Username: "), ask("? ")] == ["Michael", "last"]
    with pytest.raises(EOFError):
        ask("more? ")
    assert screen.getvalue() == "Username: ? more? \n"


@pytest.mark.parametrize("answer", [" Max ", "X"])
def test_the_stream_prompt_removes_only_the_end_of_the_line(answer: str) -> None:
    for end in ("\n", "\r\n", ""):
        assert stream_prompt(io.StringIO(answer + end), io.StringIO())("? ") == answer


def test_ctrl_c_at_the_stream_prompt_ends_its_line() -> None:
    class Interrupted(io.StringIO):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    screen = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        stream_prompt(Interrupted(), screen)("Username: ")
    assert screen.getvalue() == "Username: \n"


def test_closed_and_missing_streams_are_no_terminals() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(None)
    assert not is_terminal(closed)
    assert not is_terminal(io.StringIO())


def test_with_a_passphrase_the_key_is_not_asked_for() -> None:
    person = Person("Michael", "lab")
    settings = ask_for_missing(ClientOptions(passphrase="words"), person.ask, person.screen.append)
    assert person.screen == ["Welcome To the Chat Room !", "Username: ", "Enter Server IP: "]
    assert (settings.wire, settings.passphrase, settings.key) == ("selchat", "words", None)
    person = Person()
    ask_for_missing(ClientOptions(passphrase="words", name="A", host="lab"), person.ask, person.screen.append)
    assert person.screen == []
    for more in ({"wire": "classic"}, {"key": "12"}, {"header_length": 4}):
        with pytest.raises(SettingError):
            make_settings(ClientOptions(passphrase="words", name="A", host="lab", **more))  # type: ignore[arg-type]
    assert "words" not in repr(ClientOptions(passphrase="words"))


# -- the server's password ---------------------------------------------------------------------------------


NEEDED = Refused("password-needed", "this server requires a password")
WRONG = Refused("wrong-password", "that is not \x1b[31mthe password of this server")


class Program:
    """A program that needs the right password."""

    def __init__(self, settings: ClientSettings) -> None:
        self.password = settings.password
        self.password_refusal: Refused | None = None

    def run(self) -> int:
        if self.password == "tea at four":
            return 42
        self.password_refusal = WRONG if self.password else NEEDED
        return 0


def test_the_password_is_asked_for_until_it_is_right() -> None:
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


def test_too_many_wrong_passwords_make_the_client_wait_and_ask_again() -> None:
    person = Person("tea", "tea at four")
    steps: list[object] = []

    class LockedProgram(Program):
        def __init__(self, settings: ClientSettings) -> None:
            super().__init__(settings)
            steps.append(settings.password)

        def run(self) -> int:
            status = super().run()
            if self.password == "tea":
                self.password_refusal = Refused("too-many-tries", "try again in 4 s", retry_after=4.0)
            return status

    status = run_with_password(
        LockedProgram,
        settings(),
        person.ask,
        person.screen.append,
        wait=steps.append,
        discard=lambda: steps.append("discarded"),
    )
    assert status == 42
    assert steps == ["", "tea", 4.0, "tea at four", "discarded"]
    assert person.screen == [
        "Password: ",
        "The server said: try again in 4 s.",
        "Waiting 4 s before the next password. Press Ctrl-C to leave.",
        "Password: ",
    ]


@pytest.mark.parametrize("error", [EOFError, KeyboardInterrupt])
def test_the_end_of_the_questions_discards_what_was_typed(error: type[BaseException]) -> None:
    discarded: list[bool] = []

    def ask(_question: str) -> str:
        raise error

    try:
        run_with_password(Program, settings(), ask, print, discard=lambda: discarded.append(True))
    except KeyboardInterrupt:
        pass
    assert discarded == [True]


def test_a_lockout_without_a_terminal_is_one_line() -> None:
    lines: list[str] = []

    class LockedProgram(Program):
        def run(self) -> int:
            self.password_refusal = Refused("too-many-tries", "try again in 4 s", retry_after=4.0)
            return 1

    assert run_with_password(LockedProgram, settings(), None, lines.append) == 1
    assert lines == ["selchat: the server said: try again in 4 s"]


def test_a_right_password_is_not_asked_for() -> None:
    person = Person()
    given = settings(password="tea at four")
    assert run_with_password(Program, given, person.ask, person.screen.append) == 42
    assert person.screen == []


def test_no_answer_ends_the_program() -> None:
    person = Person()
    assert run_with_password(Program, settings(), person.ask, person.screen.append) == 1
    assert person.screen == ["Password: "]


@pytest.mark.parametrize(
    ("password", "said"),
    [("", "this server requires a password"), ("tea", "that is not \\x1b[31mthe password of this server")],
)
def test_without_a_terminal_the_refusal_is_one_line(password: str, said: str) -> None:
    lines: list[str] = []
    assert run_with_password(Program, settings(password=password), None, lines.append) == 1
    advice = "give the password with --password-file=FILE or in SELCHAT_PASSWORD"
    assert lines == [f"selchat: the server said: {said}; {advice}"]


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("password-needed", True),
        ("wrong-password", True),
        ("name-taken", False),
        ("too-many-attempts", False),
    ],
)
def test_another_password_helps_only_against_some_refusals(code: str, result: bool) -> None:
    assert is_about_password(Refused(code, "the reason")) is result


def test_another_password_does_not_help_without_a_refusal() -> None:
    assert is_about_password(None) is False


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["stdin", "stderr"])
def test_the_password_prompt_needs_one_stream_on_a_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert password_prompt() is None
    monkeypatch.setattr(sys, name, Terminal())
    assert password_prompt() is getpass.getpass


def test_find_password_reads_a_bounded_size() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"tea at four\n".ljust(4096, b"x"))
    try:
        assert find_password(f"/dev/fd/{reader}", {}) == "tea at four"  # a pipe without an end
    finally:
        os.close(reader)
        os.close(writer)


def test_the_password_file_overrides_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes("Thé à 4 \r\nand more\n".encode())
    environment = {"SELCHAT_PASSWORD": "tea"}
    assert find_password(str(file), environment) == "Thé à 4 "
    assert find_password(None, environment) == "tea"
    assert find_password(None, {"SELCHAT_PASSWORD": ""}) == ""
    assert find_password(None, {}) == ""


def test_invalid_passwords_are_errors(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    with pytest.raises(PasswordFileError) as caught:
        find_password(nowhere, {})
    assert str(caught.value) == f"cannot read the password from {nowhere}: no such file or directory"
    assert (caught.value.path, caught.value.reason) == (nowhere, "no such file or directory")
    assert caught.value.args == (nowhere, "no such file or directory")
    for data in (b"", b"\nsecond line", b"\xff", b"x" * 5000):
        file = tmp_path / "password"
        file.write_bytes(data)
        with pytest.raises(SettingError):
            find_password(str(file), {"SELCHAT_PASSWORD": "tea"})
    with pytest.raises(SettingError) as refused:
        find_password(None, {"SELCHAT_PASSWORD": "hunter2" * 50})
    assert "hunter2" not in str(refused.value)


# -- the passphrase ----------------------------------------------------------------------------------------


def never(question: str) -> str:
    raise AssertionError(question)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(data: bytes, mode: int = 0o600) -> str:
        path = tmp_path / "passphrase"
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    return write


def test_the_passphrase_file_and_the_prompt_override_the_environment(write: Callable[..., str]) -> None:
    environment = {PASSPHRASE_VARIABLE: "from the environment"}
    assert PASSPHRASE_VARIABLE == "SELCHAT_PASSPHRASE"
    assert find_passphrase(write(b"from the file\n"), False, environment, never) == "from the file"
    assert find_passphrase(None, True, environment, lambda question: f"to {question}") == "to Passphrase: "
    assert find_passphrase(None, False, environment, never) == "from the environment"
    assert find_passphrase(None, False, {}, never) == ""


def test_passphrase_file_and_prompt_exclude_each_other(write: Callable[..., str]) -> None:
    with pytest.raises(
        SettingError, match=r"^--ask-passphrase: True is not possible together with --passphrase-file$"
    ):
        find_passphrase(write(b"x"), True, {}, never)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a b\n", "a b"),
        (b"a b", "a b"),
        (b" a b \r\n", " a b "),
        ("\u00e9\n".encode(), "\u00e9"),
        (b"x" * 4096, "x" * 4096),
        (b"x\r", "x"),
    ],
)
def test_read_passphrase_returns_the_only_line(write: Callable[..., str], data: bytes, found: str) -> None:
    assert read_passphrase(write(data)) == found


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"a\nb\n", "a file of one line"), (b"a\n\n", "a file of one line"), (b"\xff", "in UTF-8")],
)
def test_a_passphrase_file_has_one_line_of_utf8(
    write: Callable[..., str], data: bytes, expected: str
) -> None:
    with pytest.raises(SettingError, match=f"^--passphrase-file: '.*' is not {expected}$"):
        read_passphrase(write(data))


def test_a_too_long_passphrase_file_is_an_error(write: Callable[..., str]) -> None:
    with pytest.raises(SettingError, match=r"^--passphrase-file: '.*' is not a file of at most 4096 bytes$"):
        read_passphrase(write(b"x" * 4097))


def test_read_passphrase_reads_a_bounded_size() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * 4097)
    try:
        with pytest.raises(SettingError, match="at most 4096 bytes"):
            read_passphrase(f"/dev/fd/{reader}")  # a pipe without an end
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o777])
def test_a_passphrase_file_that_others_can_access_is_an_error(write: Callable[..., str], mode: int) -> None:
    expected = rf"private: other users can access it \(mode {mode:04o}\); run chmod 600 on it"
    with pytest.raises(SettingError, match=f"^--passphrase-file: '.*' is not {expected}$"):
        read_passphrase(write(b"x", mode))


def test_private_passphrase_files_are_accepted(write: Callable[..., str]) -> None:
    assert [read_passphrase(write(b"x", mode)) for mode in (0o600, 0o400, 0o700)] == ["x"] * 3


def test_passphrase_file_of_another_user_may_have_any_mode(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for ssh: root may have given it to the group of a service, for example."""
    path = write(b"x", 0o640)
    monkeypatch.setattr(os, "getuid", lambda: Path(path).stat().st_uid + 1)
    assert read_passphrase(path) == "x"


def test_passphrase_pipe_may_have_any_mode() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    try:
        os.fchmod(reader, 0o666)
        assert read_passphrase(f"/dev/fd/{reader}") == "from a pipe"
    finally:
        os.close(reader)


def test_unreadable_passphrase_files_are_errors(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(SettingError, match="is not readable: no such file or directory") as caught:
        read_passphrase(nowhere)
    assert (caught.value.name, caught.value.value) == ("--passphrase-file", nowhere)
    with pytest.raises(SettingError, match="is not readable: is a directory"):
        read_passphrase(str(tmp_path))
    with pytest.raises(SettingError, match="is not readable: this is not a valid path"):
        read_passphrase("a\0b")


def test_an_empty_passphrase_is_an_error_from_every_source(write: Callable[..., str]) -> None:
    for name, given in (
        ("--passphrase-file", (write(b"\n"), False, {}, never)),
        ("--ask-passphrase", (None, True, {}, lambda _question: "")),
        (PASSPHRASE_VARIABLE, (None, False, {PASSPHRASE_VARIABLE: ""}, never)),
    ):
        with pytest.raises(SettingError, match=f"^{name}: '' is not a passphrase: it is empty$"):
            find_passphrase(*given)
    with pytest.raises(SettingError, match=f"^{PASSPHRASE_VARIABLE}: '...' is not text in UTF-8$"):
        find_passphrase(None, False, {PASSPHRASE_VARIABLE: "secret\udcff"})


def test_the_passphrase_prompt_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(_question: str, _stream: object) -> str:
        warnings.warn("Can not control echo", getpass.GetPassWarning, stacklevel=2)
        raise AssertionError("it was typed where everyone can see it")

    def no_answer(_question: str, _stream: object) -> str:
        raise EOFError

    def typed(question: str, stream: object) -> str:
        assert stream is sys.stderr, "standard output may be a file"
        return f"typed after {question!r}"

    monkeypatch.setattr(getpass, "getpass", typed)
    assert find_passphrase(None, True, {}) == "typed after 'Passphrase: '"
    monkeypatch.setattr(getpass, "getpass", no_answer)
    with pytest.raises(SettingError, match="--ask-passphrase: '' is not a passphrase: it is empty"):
        find_passphrase(None, True, {})
    monkeypatch.setattr(getpass, "getpass", no_terminal)
    with pytest.raises(SettingError, match="--ask-passphrase: True is not possible without a terminal"):
        find_passphrase(None, True, {})


def test_only_the_warning_about_the_echo_stops_the_passphrase_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(_question: str, _stream: object) -> str:
        warnings.warn("from a library", DeprecationWarning, stacklevel=2)
        return "three random words"

    monkeypatch.setattr(getpass, "getpass", typed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert find_passphrase(None, True, {}) == "three random words"


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("0.5", 0.5), ("12", 12.0), ("1m30s", 90)])
def test_seconds_come_from_the_environment(text: str, seconds: float | None) -> None:
    assert find_seconds("SELCHAT_TLS_SECONDS", {"SELCHAT_TLS_SECONDS": text}) == seconds
    assert find_seconds("SELCHAT_TLS_SECONDS", {}) is None
    given = ClientOptions(host="h", name="n", tls_seconds=seconds, hello_seconds=seconds)
    made = make_settings(given)
    assert (made.tls_seconds, made.hello_seconds) == ((5.0, 2.0) if seconds is None else (seconds, seconds))


@pytest.mark.parametrize(
    "text", ["0", "0.0", "-1", "fast", "1e3", "nan", "1234567", "٣", "0s", "1 month", "4000d"]
)
def test_bad_seconds_name_the_variable(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        find_seconds("SELCHAT_HELLO_SECONDS", {"SELCHAT_HELLO_SECONDS": text})
    expected = "a number of seconds such as 0.5, or a time such as 10s or 2m"
    assert str(caught.value) == f"SELCHAT_HELLO_SECONDS: {text!r} is not {expected}"


@pytest.mark.parametrize("source", ["file", "prompt", "variable"])
def test_a_weak_passphrase_is_used_with_a_warning(source: str, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("abc\n")
    (tmp_path / "words").chmod(0o600)
    file = str(tmp_path / "words") if source == "file" else None
    warnings: list[str] = []
    environment = {PASSPHRASE_VARIABLE: "abc"} if source == "variable" else {}
    found = find_passphrase(file, source == "prompt", environment, lambda _: "abc", warnings.append)
    assert found == "abc"
    [warning] = warnings
    assert warning.startswith(
        "this passphrase is weak: a thousand computers would guess it in less than a second"
    )


def test_a_bot_with_a_weak_passphrase_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Client("lab", name="A", passphrase="correct horse battery staple")
    assert caplog.messages == []
    Client("lab", name="A", passphrase="abc")
    [warning] = caplog.messages
    assert warning.startswith("this passphrase is weak")
