from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from selchat.errors import SettingError
from selchat.paths import data_folder, history_path, make_private_folder


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
