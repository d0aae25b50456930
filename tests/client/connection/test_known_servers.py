from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from selchat.client.connection.known_servers import KnownServers, KnownServersError, ServerChangedError

ONE, OTHER = "1" * 64, "2" * 64


def test_a_server_is_known_from_the_first_time_on(tmp_path: Path) -> None:
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


def test_names_are_the_same_in_any_case(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.add("Ship.Local", 33000, ONE)
    assert known.find("ship.local.", 33000) == (ONE, 2)


def test_the_file_may_be_written_by_hand(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.path.write_text(f"\n# mine\nship:1   sha256:{ONE}  \nship:1 sha256:{OTHER}")
    assert known.find("ship", 1) == (OTHER, 4), "the newest line counts"
    known.add("boat", 1, ONE)
    assert known.find("boat", 1) == (ONE, 5)
    assert known.find("ship", 1) == (OTHER, 4)


@pytest.mark.parametrize(
    "line", ["ship:1", f"ship:1 {ONE}", f"ship:1 sha256:{ONE[1:]}", f"ship:1 sha256:{'G' * 64}"]
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    known = KnownServers(tmp_path)
    known.path.write_text(f"# comment\n{line}\n")
    with pytest.raises(
        KnownServersError, match=r"known-servers, which .*: line 2 is not an address and a sha256"
    ):
        known.find("boat", 1)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    known = KnownServers(tmp_path)
    known.path.write_bytes(b"\xff\xfe")
    with pytest.raises(KnownServersError, match="it is not text"):
        known.find("ship", 1)
    known.path.unlink()
    known.path.mkdir()
    with pytest.raises(KnownServersError, match="is a directory"):
        known.find("ship", 1)
    known = KnownServers(tmp_path / "known-servers" / "file")
    (tmp_path / "known-servers" / "file").touch()
    with pytest.raises(KnownServersError, match=r"not a directory|file exists"):
        known.add("ship", 1, ONE)


def test_a_changed_server_says_what_to_do() -> None:
    error = ServerChangedError("ship:1", "1111 1111", "2222 2222", Path("/home/venkat/known-servers"), 7)
    assert "its key is now 2222 2222, and it was 1111 1111" in str(error)
    assert "delete line 7 of /home/venkat/known-servers" in str(error)


def test_programs_that_meet_servers_at_the_same_time_remember_all_of_them(tmp_path: Path) -> None:
    def meet(number: int) -> None:
        for port in range(1, 26):
            KnownServers(tmp_path).add(f"host-{number}", port, ONE)

    threads = [threading.Thread(target=meet, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = KnownServers(tmp_path)
    assert all(known.find(f"host-{number}", port) for number in range(4) for port in range(1, 26))
