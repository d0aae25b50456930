from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from selchat.errors import SettingError
from selchat.paths import (
    data_folder,
    history_path,
    make_private_file,
    make_private_folder,
    remove_leftovers,
    replace_private_file,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


def test_the_data_folder_follows_xdg(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_folder() == home / ".local/share/selchat"
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert data_folder() == Path("/srv/data/selchat")


@pytest.mark.parametrize("given", ["", "relative", "./relative", "~/data"])
def test_a_relative_xdg_data_home_is_ignored(home: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", given)
    assert data_folder() == home / ".local/share/selchat"


def test_each_port_has_its_own_history(home: Path) -> None:
    assert history_path() == history_path(33000) == data_folder() / "history.sqlite"
    assert history_path(4242) == data_folder() / "history-4242.sqlite"
    assert list(home.iterdir()) == [], "returning a path creates nothing"


def test_without_a_home_folder_xdg_data_home_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(SettingError) as caught:
        data_folder()
    assert caught.value.name == "XDG_DATA_HOME"


def test_a_private_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "a").chmod(0o755)
    make_private_folder(tmp_path / "a")
    make_private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755, "an existing folder keeps its mode"


def test_a_folder_below_a_file_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            make_private_folder(path)


@pytest.mark.parametrize("given", ["", "relative", None])
def test_without_an_absolute_home_the_login_s_home_is_taken(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME") if given is None else monkeypatch.setenv("HOME", given)
    folder = data_folder()
    assert folder.is_absolute()
    assert folder == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/share/selchat"


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file")


# -- private files -----------------------------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_private_file_is_created_once_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_private_file(path, b"one")
    make_private_file(path, b"two")
    assert path.read_bytes() == b"one"
    replace_private_file(path, b"three")
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["key"]


def test_failed_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        make_private_file(tmp_path / "key", b"one")
    with pytest.raises(OSError, match="No space"):
        replace_private_file(tmp_path / "key", b"one")
    assert names_in(tmp_path) == []


KILLED_AT = {
    "a write": "os.fsync",
    "the link": "os.link",
    "the end of the link": "Path.unlink",
    "the replacement": "Path.replace",
}


@pytest.mark.parametrize("step", KILLED_AT)
@pytest.mark.parametrize("function", ["make_private_file", "replace_private_file"])
def test_temporary_file_of_a_killed_program_is_removed_by_the_next_one(
    tmp_path: Path, step: str, function: str
) -> None:
    owner, _, name = KILLED_AT[step].partition(".")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from selchat import paths\n"
        f"{owner}.{name} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"paths.{function}(Path(sys.argv[1]), b'key')\n"
    )
    path = tmp_path / "server-key.pem"
    done = subprocess.run([sys.executable, "-c", program, path])
    assert done.returncode in {-signal.SIGKILL, 0}, "0: this function does not reach that step"
    (tmp_path / "server-key.pem.old").touch()
    remove_leftovers(path)
    assert set(names_in(tmp_path)) - {"server-key.pem"} == {"server-key.pem.old"}


def test_temporary_file_of_a_program_that_is_writing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    seen: list[str] = []

    def look(_descriptor: int) -> None:
        remove_leftovers(path)
        seen.extend(names_in(tmp_path))

    monkeypatch.setattr(os, "fsync", look)
    make_private_file(path, b"one")
    assert len(seen) == 1
    assert path.read_bytes() == b"one"
