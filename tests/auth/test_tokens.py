"""The file of tokens: read by people and by a running server, and never half written."""

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
    """One that is not there yet, nor its folder."""
    return TokenFile(tmp_path / "a" / "b" / "tokens")


def test_a_token_is_random_and_recognised_and_only_its_hash_is_kept() -> None:
    secret, token = new_token("ci")
    other, _ = new_token("ci")
    assert secret != other
    assert secret.startswith(PREFIX)
    assert len(bytes.fromhex(secret.removeprefix(PREFIX))) == 32
    assert token.digest == digest(secret) == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(token)
    assert token.made == datetime.datetime.now().astimezone().date()


def test_a_token_is_found_as_soon_as_it_is_made_and_no_longer_when_it_is_revoked(file: TokenFile) -> None:
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


def test_where_there_is_no_folder_for_it_nothing_is_asked_of_one_before_it_is_needed(
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
def test_what_is_no_token_is_not_looked_for(file: TokenFile, secret: str) -> None:
    assert file.find(secret) is None


def test_the_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(file: TokenFile) -> None:
    file.add(new_token("ci")[1])
    file.add(new_token("Build bot")[1])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert os.listdir(file.path.parent) == ["tokens"]  # noqa: PTH208


def test_a_person_may_edit_it(file: TokenFile) -> None:
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
        (b"hello", "not a token: sha256:HASH, a day, a room, a name"),
        (f"sha256:{HEX[1:]} 2026-11-25 * ci".encode(), "not a token: sha256:HASH, a day, a room, a name"),
        (f"sha256:{HEX} 2026-11-25 builds ci".encode(), "not a token: sha256:HASH, a day, a room, a name"),
        (f"sha256:{HEX} 2026-13-25 * ci".encode(), "month must be in 1..12"),
        (f"sha256:{HEX} 2026-11-25 * \u200b".encode(), "no name"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_broken_line_is_one_error_with_its_place(file: TokenFile, line: bytes, why: str) -> None:
    secret, token = new_token("ci")
    file.add(token)
    good = file.path.read_bytes()
    file.path.write_bytes(good + line + b"\n")
    number = good.count(b"\n") + 1
    for _ in range(2):  # and again, until it is mended
        with pytest.raises(TokenFileError) as caught:
            file.find(secret)
        assert str(caught.value) == f"{file.path}:{number}: {why}"
    with pytest.raises(TokenFileError):
        file.add(token)
    file.path.write_bytes(good)
    assert file.find(secret) == token


def test_what_cannot_be_read_is_one_error(file: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(TokenFileError, match=r"tokens: is a directory"):
        file.tokens()
    file.path.rmdir()
    file.path.write_bytes(b"#" * (tokens._LARGEST + 1))
    with pytest.raises(TokenFileError, match="more than 262144 bytes"):
        file.tokens()
    file.path.unlink()
    monkeypatch.setattr(tokens, "_MAX", 1)
    file.add(new_token("ci")[1])
    with pytest.raises(TokenFileError, match="1 tokens are the limit"):
        file.add(new_token("ci")[1])
    file.path.write_text(f"{new_token('a')[1]}\n{new_token('b')[1]}\n")
    with pytest.raises(TokenFileError, match="more than 1 tokens"):
        file.tokens()


def test_those_who_change_it_at_the_same_time_lose_nothing(file: TokenFile) -> None:
    made = [new_token(f"bot{number}")[1] for number in range(16)]
    threads = [threading.Thread(target=TokenFile(file.path).add, args=(token,)) for token in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(file.tokens()) == set(made)


def test_a_token_for_a_room_is_for_that_one_however_it_is_written() -> None:
    _, token = new_token("ci", "Builds")
    assert token.allows("Builds") and token.allows("#builds") and not token.allows("lobby")
    assert new_token("ci")[1].allows("lobby")


@given(st.text(max_size=64).map(clean_name).filter(bool), st.sampled_from([ANY_ROOM, "builds", "b\u00e4u*"]))
def test_every_name_comes_back_as_it_was_written(name: str, room: str) -> None:
    token = new_token(name, room)[1]
    assert parse_tokens(f"{token}\n".encode(), Path("x")) == [token]
