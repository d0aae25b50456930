"""API tokens and their file, which people and a running server read."""

from __future__ import annotations

import datetime
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.auth import tokens
from selchat.auth.tokens import (
    ANY_ROOM,
    PREFIX,
    Token,
    TokenFile,
    TokenFileError,
    digest,
    new_token,
    parse_tokens,
)
from selchat.errors import SettingError
from selchat.text import clean_name

HEX = "ab" * 32


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    """A token file that does not exist, and neither does its folder."""
    return TokenFile(tmp_path / "a" / "b" / "tokens")


def test_a_token_is_random_and_only_its_hash_is_stored() -> None:
    secret, token = new_token("ci")
    other, _ = new_token("ci")
    assert secret != other
    assert secret.startswith(PREFIX)
    assert len(bytes.fromhex(secret.removeprefix(PREFIX))) == 32
    assert token.digest == digest(secret) == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(token)
    assert token.made == datetime.datetime.now().astimezone().date()


def test_a_new_token_works_at_once_and_a_revoked_one_stops_at_once(file: TokenFile) -> None:
    server = TokenFile(file.path)
    secret, token = new_token("ci", "builds")
    assert server.find(secret) is None
    file.add(token)
    assert server.find(secret) == token
    other, more = new_token("Build bot")
    file.add(more)
    assert (server.find(secret), server.find(other)) == (token, more)
    assert file.revoke("CI") == [token]
    assert (server.find(secret), server.find(other)) == (None, more)
    assert file.revoke("ci") == []
    file.path.unlink()
    assert server.find(other) is None


def test_without_a_data_folder_only_the_first_use_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise SettingError("XDG_DATA_HOME", "", "an absolute path, and there is no home folder")

    monkeypatch.setattr(tokens, "data_folder", no_home)
    file = TokenFile()
    with pytest.raises(SettingError):
        file.find(new_token("ci")[0])


@pytest.mark.parametrize(
    "secret", ["", "x", PREFIX, PREFIX + "0" * 63, PREFIX + "g" * 64, "x" * 10_000, PREFIX + "\ud800" * 64]
)
def test_a_malformed_token_is_unknown(file: TokenFile, secret: str) -> None:
    assert file.find(secret) is None


def test_the_file_is_private_and_leaves_no_temporary_file(file: TokenFile) -> None:
    file.add(new_token("ci")[1])
    file.add(new_token("Build bot")[1])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert os.listdir(file.path.parent) == ["tokens"]  # noqa: PTH208


def test_manual_edits_of_the_file_are_kept(file: TokenFile) -> None:
    file.path.parent.mkdir(parents=True)
    text = f"# ours\n\n  sha256:{HEX} 2026-11-25\t#builds   Build  bot \r\n# theirs\n"
    file.path.write_text(text)
    [token] = file.tokens()
    assert token == Token(bytes.fromhex(HEX), datetime.date(2026, 11, 25), "builds", "Build bot")
    file.add(new_token("ci")[1])
    assert file.path.read_text().startswith("# ours\n\n  sha256:")
    file.revoke("Build bot")
    assert file.path.read_text().startswith("# ours\n\n# theirs\nsha256:")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello", "not a token; expected sha256:HASH, a day, a room and a name"),
        (
            f"sha256:{HEX[1:]} 2026-11-25 * ci".encode(),
            "not a token; expected sha256:HASH, a day, a room and a name",
        ),
        (
            f"sha256:{HEX} 2026-11-25 builds ci".encode(),
            "not a token; expected sha256:HASH, a day, a room and a name",
        ),
        (f"sha256:{HEX} 2026-13-25 * ci".encode(), "month must be in 1..12"),
        (f"sha256:{HEX} 2026-11-25 * \u200b".encode(), "no name"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_broken_line_is_an_error_with_its_line_number(file: TokenFile, line: bytes, why: str) -> None:
    secret, token = new_token("ci")
    file.add(token)
    good = file.path.read_bytes()
    file.path.write_bytes(good + line + b"\n")
    number = good.count(b"\n") + 1
    for _ in range(2):  # every use fails until the line is repaired
        with pytest.raises(TokenFileError) as caught:
            file.find(secret)
        assert str(caught.value) == f"{file.path}:{number}: {why}"
    with pytest.raises(TokenFileError):
        file.add(token)
    file.path.write_bytes(good)
    assert file.find(secret) == token


def test_a_file_that_cannot_be_read_is_an_error(file: TokenFile) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(TokenFileError, match=r"tokens: is a directory"):
        file.tokens()
    file.path.rmdir()
    file.path.write_bytes(b"#" * 262_145)
    with pytest.raises(TokenFileError, match="more than 262144 bytes"):
        file.tokens()


def test_a_file_has_at_most_1000_tokens(file: TokenFile) -> None:
    token = new_token("ci")[1]
    file.path.parent.mkdir(parents=True)
    file.path.write_text(f"{token}\n" * 999)
    file.add(token)
    with pytest.raises(TokenFileError, match="the limit of 1000 tokens is reached"):
        file.add(token)
    assert len(file.tokens()) == 1000
    file.path.write_text(f"{token}\n" * 1001)
    with pytest.raises(TokenFileError, match="more than 1000 tokens"):
        file.tokens()


def test_simultaneous_changes_lose_no_token(file: TokenFile) -> None:
    made = [new_token(f"bot{number}")[1] for number in range(16)]
    threads = [threading.Thread(target=TokenFile(file.path).add, args=(token,)) for token in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(file.tokens()) == set(made)


def test_a_token_allows_its_room_in_any_spelling() -> None:
    _, token = new_token("ci", "Builds")
    assert token.allows("Builds") and token.allows("#builds") and not token.allows("lobby")
    assert new_token("ci")[1].allows("lobby")


@given(st.text(max_size=64).map(clean_name).filter(bool), st.sampled_from([ANY_ROOM, "builds", "b\u00e4u*"]))
def test_every_name_parses_back(name: str, room: str) -> None:
    token = new_token(name, room)[1]
    assert parse_tokens(f"{token}\n".encode(), Path("x")) == [token]
