"""Trust on first use: the file of pinned keys, and where a password may be sent."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from selchat.client.connection.trust import (
    KnownServers,
    KnownServersError,
    ServerChangedError,
    may_send_password,
)

ONE, OTHER = "1" * 64, "2" * 64


# -- passwords -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_password_may_be_sent_on_the_same_machine(address: str) -> None:
    assert may_send_password(address, encrypted=False)


@pytest.mark.parametrize("address", ["192.168.43.158", "fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1"])
def test_password_may_be_sent_elsewhere_only_if_encrypted(address: str) -> None:
    assert not may_send_password(address, encrypted=False)
    assert may_send_password(address, encrypted=True)


# -- pinned keys ---------------------------------------------------------------------------------------


def test_server_is_known_after_the_first_connection(tmp_path: Path) -> None:
    known = KnownServers(tmp_path / "folder")
    assert known.find("192.0.2.1", 33000) is None
    known.add("192.0.2.1", 33000, ONE)
    known.add("2001:db8::1", 33001, OTHER)
    assert known.find("192.0.2.1", 33000) == (ONE, 2)
    assert KnownServers(tmp_path / "folder").find("2001:db8::1", 33001) == (OTHER, 3)
    assert known.find("192.0.2.1", 33001) is None
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert known.path.read_text().splitlines()[1:] == [
        f"192.0.2.1:33000 sha256:{ONE}",
        f"[2001:db8::1]:33001 sha256:{OTHER}",
    ]


def test_host_names_ignore_case_and_a_final_dot(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.add("Ship.Local", 33000, ONE)
    assert known.find("ship.local.", 33000) == (ONE, 2)


def test_file_may_be_edited_by_hand(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.path.write_text(f"\n# mine\nship:1   sha256:{ONE}  \nship:1 sha256:{OTHER}")
    assert known.find("ship", 1) == (OTHER, 4), "the newest line counts"
    known.add("boat", 1, ONE)
    assert known.find("boat", 1) == (ONE, 5)
    assert known.find("ship", 1) == (OTHER, 4)


@pytest.mark.parametrize(
    "line", ["ship:1", f"ship:1 {ONE}", f"ship:1 sha256:{ONE[1:]}", f"ship:1 sha256:{'G' * 64}"]
)
def test_error_names_the_malformed_line(tmp_path: Path, line: str) -> None:
    known = KnownServers(tmp_path)
    known.path.write_text(f"# comment\n{line}\n")
    with pytest.raises(
        KnownServersError, match=r"key with .*/known-servers: line 2 is not HOST:PORT sha256:FINGERPRINT$"
    ):
        known.find("boat", 1)


def test_error_names_an_unusable_file(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.path.write_bytes(b"\xff\xfe")
    with pytest.raises(KnownServersError, match="it is not a text file"):
        known.find("ship", 1)
    known.path.unlink()
    known.path.mkdir()
    with pytest.raises(KnownServersError, match="is a directory"):
        known.find("ship", 1)
    known = KnownServers(tmp_path / "known-servers" / "file")
    (tmp_path / "known-servers" / "file").touch()
    with pytest.raises(KnownServersError, match=r"not a directory|file exists"):
        known.add("ship", 1, ONE)


def test_changed_key_error_says_what_happened_and_what_to_do() -> None:
    error = ServerChangedError("ship:1", "1111 1111", "2222 2222", Path("/home/venkat/known-servers"), 7)
    assert str(error).startswith("WARNING: the key of ship:1 has changed. Expected 1111 1111. Got 2222 2222.")
    assert "delete line 7 of /home/venkat/known-servers" in str(error)


def test_programs_that_add_servers_at_once_keep_each_others_lines(tmp_path: Path) -> None:
    def add_servers(number: int) -> None:
        for port in range(1, 26):
            KnownServers(tmp_path).add(f"host-{number}", port, ONE)

    threads = [threading.Thread(target=add_servers, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = KnownServers(tmp_path)
    assert all(known.find(f"host-{number}", port) for number in range(4) for port in range(1, 26))
