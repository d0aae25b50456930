"""Where the passphrase comes from."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from selchat.client import passphrase
from selchat.client.passphrase import VARIABLE, find_passphrase, read_passphrase
from selchat.errors import SettingError


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


def test_the_file_goes_before_the_environment_and_so_does_the_question(write: Callable[..., str]) -> None:
    environment = {VARIABLE: "from the environment"}
    assert VARIABLE == "SELCHAT_PASSPHRASE"
    assert find_passphrase(write(b"from the file\n"), False, environment, never) == "from the file"
    assert find_passphrase(None, True, environment, lambda question: f"to {question}") == "to Passphrase: "
    assert find_passphrase(None, False, environment, never) == "from the environment"
    assert find_passphrase(None, False, {}, never) == ""


def test_a_file_and_a_question_are_too_much(write: Callable[..., str]) -> None:
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
def test_the_one_line_of_a_file(write: Callable[..., str], data: bytes, found: str) -> None:
    assert read_passphrase(write(data)) == found


@pytest.mark.parametrize(
    ("data", "wanted"),
    [(b"a\nb\n", "a file of one line"), (b"a\n\n", "a file of one line"), (b"\xff", "in UTF-8")],
)
def test_what_is_wrong_with_a_file(write: Callable[..., str], data: bytes, wanted: str) -> None:
    with pytest.raises(SettingError, match=f"^--passphrase-file: '.*' is not {wanted}$"):
        read_passphrase(write(data))


def test_a_file_that_is_too_long(write: Callable[..., str]) -> None:
    with pytest.raises(SettingError, match=r"^--passphrase-file: '.*' is not a file of at most 4096 bytes$"):
        read_passphrase(write(b"x" * 4097))


def test_no_more_is_read_than_may_be_there() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * 4097)
    try:
        with pytest.raises(SettingError, match="at most 4096 bytes"):
            read_passphrase(f"/dev/fd/{reader}")  # whose end does not come
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o777])
def test_a_file_that_others_may_use_is_refused(write: Callable[..., str], mode: int) -> None:
    wanted = rf"safe: others may use it \(its mode is {mode:04o}\); chmod 600 it"
    with pytest.raises(SettingError, match=f"^--passphrase-file: '.*' is not {wanted}$"):
        read_passphrase(write(b"x", mode))


def test_files_that_only_the_owner_may_use(write: Callable[..., str]) -> None:
    assert [read_passphrase(write(b"x", mode)) for mode in (0o600, 0o400, 0o700)] == ["x"] * 3


def test_a_file_of_someone_else_is_their_business(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for ssh: root has given it to a service by its group, for example."""
    path = write(b"x", 0o640)
    monkeypatch.setattr(os, "getuid", lambda: Path(path).stat().st_uid + 1)
    assert read_passphrase(path) == "x"


def test_a_pipe_has_no_mode_to_speak_of() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    try:
        os.fchmod(reader, 0o666)
        assert read_passphrase(f"/dev/fd/{reader}") == "from a pipe"
    finally:
        os.close(reader)


def test_no_file(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(SettingError, match="is not readable: no such file or directory") as caught:
        read_passphrase(nowhere)
    assert (caught.value.name, caught.value.value) == ("--passphrase-file", nowhere)
    with pytest.raises(SettingError, match="is not readable: is a directory"):
        read_passphrase(str(tmp_path))
    with pytest.raises(SettingError, match="is not readable: no file can be called that"):
        read_passphrase("a\0b")


def test_an_empty_passphrase_is_a_mistake_wherever_it_comes_from(write: Callable[..., str]) -> None:
    for name, given in (
        ("--passphrase-file", (write(b"\n"), False, {}, never)),
        ("--ask-passphrase", (None, True, {}, lambda _question: "")),
        (VARIABLE, (None, False, {VARIABLE: ""}, never)),
    ):
        with pytest.raises(SettingError, match=f"^{name}: '' is not a passphrase: it is empty$"):
            find_passphrase(*given)
    with pytest.raises(SettingError, match=f"^{VARIABLE}: '...' is not text in UTF-8$"):
        find_passphrase(None, False, {VARIABLE: "secret\udcff"})


def test_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(_question: str, _stream: object) -> str:
        import warnings

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
    assert passphrase._prompt("?") == ""
    monkeypatch.setattr(getpass, "getpass", no_terminal)
    with pytest.raises(SettingError, match="--ask-passphrase: True is not possible without a terminal"):
        find_passphrase(None, True, {})
