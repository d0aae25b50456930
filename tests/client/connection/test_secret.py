"""The client's secret: created once, kept private, and rejected when damaged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from selchat import paths
from selchat.client.connection.secret import SecretError, client_secret


def test_secret_is_created_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "selchat"
    secret = client_secret(folder)
    assert client_secret(folder) == secret
    assert 16 <= len(secret) <= 128
    assert (folder / "client-secret").read_text() == f"{secret}\n"
    assert client_secret(tmp_path / "other") != secret


def test_only_the_owner_can_read_the_secret(tmp_path: Path) -> None:
    folder = tmp_path / "selchat"
    old = os.umask(0)
    try:
        client_secret(folder)
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "client-secret").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["client-secret"]


def test_secret_is_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert client_secret() == (tmp_path / "selchat" / "client-secret").read_text().strip()


def test_programs_that_start_at_once_get_the_same_secret(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from selchat.client.connection.secret import client_secret;"
        "sys.stdin.read(); print(client_secret(Path(sys.argv[1])))"
    )
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "selchat")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    for program in programs:
        assert program.stdin is not None
        program.stdin.close()
        program.stdin = None
    assert len({program.communicate(timeout=20)[0] for program in programs}) == 1


def test_second_program_uses_the_secret_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client_secret(tmp_path)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert client_secret(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["client-secret"]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short\n", b"x" * 200, b"\xff" * 30, b"two words of text\n"]
)
def test_error_names_a_file_with_other_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "client-secret").write_bytes(content)
    with pytest.raises(SecretError, match=r"your name yours, .*client-secret: it does not hold 16"):
        client_secret(tmp_path)
    assert (tmp_path / "client-secret").read_bytes() == content


def test_error_names_an_unusable_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SecretError, match=r"file/selchat/client-secret: not a directory"):
        client_secret(tmp_path / "file" / "selchat")
    (tmp_path / "client-secret").mkdir()
    with pytest.raises(SecretError, match="is a directory"):
        client_secret(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths.os, "fsync", full)
    with pytest.raises(SecretError, match="no space left on device"):
        client_secret(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
