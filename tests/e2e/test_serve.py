"""The server as a process, spoken to by raw sockets and from its console."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e import processes
from tests.e2e.processes import SELCHAT
from tests.e2e.support import DEADLINE, Client, Server, eventually, frame, pair


def test_console_shows_the_conversation_of_three_clients() -> None:
    with Server("--no-roster") as server:
        with Client(server.port, "Venkat") as venkat:
            server.expect_line(f"Accepted new connection from {venkat.address}, username: Venkat")
            with Client(server.port, "Narayan") as narayan, Client(server.port, "Michael") as michael:
                server.expect_line(f"Accepted new connection from {narayan.address}, username: Narayan")
                server.expect_line(f"Accepted new connection from {michael.address}, username: Michael")
                venkat.send("Ol\x80'Wslhzl'Pu{yvk}jl'v|yzlsm555")
                server.expect_line(r"Received message from Venkat: Ol\x80'Wslhzl'Pu{yvk}jl'v|yzlsm555")
                narayan.send("Hello Venkat!")
                server.expect_line("Received message from Narayan: Hello Venkat!")
                michael.send("Hey Guys!")
                server.expect_line("Received message from Michael: Hey Guys!")
                assert michael.read(len(pair("Venkat", "Ol\x80'Wslhzl'Pu{yvk}jl'v|yzlsm555")))
                assert [venkat.read_pair(), venkat.read_pair()] == [
                    ("Narayan", "Hello Venkat!"),
                    ("Michael", "Hey Guys!"),
                ]
                assert michael.read_pair() == ("Narayan", "Hello Venkat!")
        server.expect_line(f"Closed connection from {venkat.address}, username: Venkat")
        assert server.stop() == 0
        assert server.errors() == ""


def test_first_line_is_that_of_the_paper_with_the_real_port() -> None:
    process = processes.Popen(
        [*SELCHAT, "serve", "--port=0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        line = re.fullmatch(
            rb"Listening for connections on 0\.0\.0\.0:(\d+)\.\.\.\n", process.stdout.readline()
        )
        assert line is not None
        with Client(int(line[1]), "Venkat") as venkat:
            assert venkat.read_pair() == ("Server", "Users online (1): Venkat")
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0


def test_relayed_bytes_match_the_paper_and_the_author_gets_no_copy() -> None:
    with Server("--no-roster") as server:
        with Client(server.port, "Venkat") as venkat, Client(server.port, "Narayan") as narayan:
            server.expect("username: Narayan")
            venkat.send("Hello World!")
            narayan.send("")
            assert narayan.read(6 + 12 + 20) == b"6         Venkat12        Hello World!"
            assert venkat.read(20 + 7) == b"7         Narayan0         "
            server.stop()
            notice = b"6         Server28        The server is shutting down."
            assert venkat.read_to_end() == narayan.read_to_end() == notice


@pytest.mark.parametrize("sent", [b"        12", b"    12    ", b"12        ", b"0000000012"])
def test_every_header_padding_is_accepted_and_left_justified_is_sent(sent: bytes) -> None:
    with Server("--no-roster") as server:
        with Client(server.port, "a") as one, Client(server.port, "b") as other:
            server.expect("username: b")
            other.send_raw(sent + b"Hello World!")
            assert one.read(11 + 22) == b"1         b12        Hello World!"


def test_header_length_is_configurable() -> None:
    with Server("--no-roster", "--header-length=4") as server:
        with Client(server.port) as one, Client(server.port) as other:
            one.send_raw(b"1   a")
            other.send_raw(b"1   b")
            server.expect("username: b")
            one.send_raw(b"5   hello")
            assert other.read(14) == b"1   a5   hello"


def test_messages_may_arrive_byte_by_byte() -> None:
    with Server("--no-roster") as server:
        with Client(server.port, "listener") as listener, Client(server.port) as slow:
            server.expect("username: listener")
            for byte in frame("slow") + frame("one") + frame("two"):
                slow.send_raw(bytes([byte]))
            assert listener.read_pair() == ("slow", "one")
            assert listener.read_pair() == ("slow", "two")


def test_roster_follows_joins_and_leaves() -> None:
    with Server() as server:
        with Client(server.port, "Venkat") as venkat:
            assert venkat.read_pair() == ("Server", "Users online (1): Venkat")
            with Client(server.port, "Narayan"), Client(server.port, "Michael"):
                venkat.read_until("Server", "Users online (3): Michael, Narayan, Venkat")
            venkat.read_until("Server", "Users online (1): Venkat")


def test_names_are_unique_and_clean() -> None:
    requested = [
        "Michael",
        "michael",
        "ＭＩＣＨＡＥＬ",
        "",
        "",
        "Server",
        "sErVeR",
        "a\x1b[2J\u202eb\u200b",
        "x" * 50,
        " ",
    ]
    expected = [
        "Michael",
        "michael_2",
        "ＭＩＣＨＡＥＬ_3",
        "guest1",
        "guest2",
        "guest3",
        "guest4",
        "a2Jb",
        "x" * 32,
        "guest5",
    ]
    with Server("--no-roster") as server:
        clients = []
        for name, became in zip(requested, expected, strict=True):
            clients.append(Client(server.port, name))
            server.expect_line(f"Accepted new connection from {clients[-1].address}, username: {became}")
        for client in clients:
            client.close()


class TestConsole:
    def test_typed_line_is_an_announcement_of_the_server(self) -> None:
        with Server("--no-roster") as server, Client(server.port, "Venkat") as venkat:
            server.expect("Venkat")
            server.type("Tea is ready")
            server.type("")
            server.type("//etc is a folder")
            assert venkat.read_pair() == ("Server", "Tea is ready")
            assert venkat.read_pair() == ("Server", "/etc is a folder")

    def test_key_encrypts_the_server_s_own_messages(self) -> None:
        with Server("--key=1024") as server, Client(server.port, "Venkat") as venkat:
            assert venkat.read_pair() == (
                "Server",
                "".join(chr(ord(c) + 7) for c in "Users online (1): Venkat"),
            )
            server.type("Tea")
            assert venkat.read_pair() == ("Server", "[lh")

    def test_commands_users_kick_help_and_an_unknown_one(self) -> None:
        with Server("--no-roster") as server:
            server.type("/users")
            server.expect_line("Nobody is online.")
            with Client(server.port, "Venkat") as venkat, Client(server.port, "Mad Max") as max_:
                server.expect("Mad Max")
                server.type("/users")
                server.expect_line("Users online (2):")
                server.expect_line(f"  Mad Max  {max_.address}")
                server.expect_line(f"  Venkat  {venkat.address}")
                server.type("/help")
                server.expect("/kick NAME +disconnect someone")
                server.type("/kick")
                server.expect_line("Usage: /kick NAME")
                server.type("/kick nobody")
                server.expect_line("There is no one named nobody. Type /users to see who is online.")
                server.type("/kcik Venkat")
                server.expect("Unknown command /kcik. Type /help to list the commands")
                server.type("/kick mad max")
                server.expect_line(
                    f"Closed connection from {max_.address}, username: Mad Max (kicked by the operator)"
                )
                assert max_.read_to_end() == pair("Server", "The operator has removed you from this chat.")
                venkat.send("still here")
                server.expect_line("Received message from Venkat: still here")

    def test_quit_notifies_everyone(self) -> None:
        with Server("--no-roster") as server, Client(server.port, "Venkat") as venkat:
            server.expect("Venkat")
            server.type("/quit")
            assert venkat.read_to_end() == pair("Server", "The server is shutting down.")
            assert server.wait() == 0
            assert (
                f"Closed connection from {venkat.address}, username: Venkat (server shut down)"
                in server.remaining_output()
            )

    def test_too_long_line_is_not_sent(self) -> None:
        with Server("--no-roster") as server, Client(server.port, "Venkat") as venkat:
            server.expect("Venkat")
            server.type("x" * 70_000)
            server.expect_line("Warning: a line was not sent because it is longer than 65536 bytes")
            server.type("short")
            assert venkat.read_pair() == ("Server", "short")

    def test_client_cannot_forge_a_line_or_move_the_cursor(self) -> None:
        hostile = "hi\nListening for connections on 6.6.6.6:6...\r\x1b[2J\x9b2J\u2028\u202e\x07"
        with Server("--no-roster") as server, Client(server.port, "Eve") as eve:
            eve.send(hostile)
            eve.send(b"bro\xffken \xc3")
            server.expect_line(
                "Received message from Eve: hi\\nListening for connections on 6.6.6.6:6..."
                "\\r\\x1b[2J\\x9b2J\\u2028\\u202e\\x07"
            )
            server.expect_line("Received message from Eve: bro\ufffdken \ufffd")

    def test_json_format_has_one_object_per_line(self) -> None:
        with Server("--log-format=json", "--no-roster") as server:
            with Client(server.port, "Eve\x1b") as eve:
                eve.send('a"b\n\x1b\u202eé')
                server.expect('"event": "message"')
                server.type("/users")
                server.expect('"event": "reply"')
            server.expect('"event": "closed"')
            server.stop()
        process = processes.run(
            [*SELCHAT, "serve", "--port=0", "--log-format=json"],
            input=b"/help\n/quit\n",
            capture_output=True,
            timeout=DEADLINE,
            check=True,
        )
        records = [json.loads(line) for line in process.stdout.splitlines()]
        assert records[0]["event"] == "listening"
        assert re.fullmatch(r"0\.0\.0\.0:\d+", records[0]["address"])
        assert records[1]["event"] == "identified"
        assert records[2]["event"] == "invited"
        assert all(address.startswith("http") for address in records[2]["addresses"])
        assert {record["event"] for record in records[3:]} == {"reply"}
        assert process.stdout.isascii()

    def test_quiet_server_shows_only_the_banner(self) -> None:
        with Server("--quiet") as server:
            with Client(server.port, "Venkat") as venkat:
                venkat.send("hello")
                venkat.read_pair()
            server.stop()
            assert server.remaining_output() == ""


class TestStandardStreams:
    @pytest.mark.parametrize("kind", ["eof", "devnull", "file", "closed"])
    def test_server_runs_with_any_standard_input(self, kind: str, tmp_path: Path) -> None:
        options: dict[str, object] = {}
        if kind == "devnull":
            options["stdin"] = subprocess.DEVNULL
        elif kind == "file":
            (tmp_path / "lines").write_text("/users\nhello\n/nonsense")
            options["stdin"] = os.open(tmp_path / "lines", os.O_RDONLY)
        elif kind == "closed":
            options["stdin"] = None
            options["preexec_fn"] = lambda: os.close(0)
        with Server(**options) as server:  # type: ignore[arg-type]
            if kind == "eof":
                server.process.stdin.close()  # type: ignore[union-attr]
            if kind == "file":
                server.expect_line("Nobody is online.")
                server.expect("Unknown command /nonsense")
                os.close(options["stdin"])  # type: ignore[arg-type]
            server.assert_serves()
            server.assert_idle()
            assert server.stop() == 0

    def test_standard_output_may_be_closed(self) -> None:
        with Server() as server:
            server.process.stdout.close()  # type: ignore[union-attr]
            server.assert_serves()
            server.assert_serves()
            assert server.stop() == 0

    def test_unread_output_does_not_block_the_server(self) -> None:
        with (
            Server("--no-roster") as server,
            Client(server.port, "one") as one,
            Client(server.port, "two") as two,
        ):
            server.expect("two")
            body = "x" * 1000
            for _ in range(2500):  # more than the pipe and the limit of what waits
                one.send(body)
            for _ in range(2500):
                assert two.read_pair() == ("one", body)
            server.expect(r"Warning: \d+ lines were dropped because standard output was blocked")
            server.assert_serves()
            assert server.stop() == 0

    def test_background_server_is_not_stopped_by_its_terminal(self) -> None:
        # In the background, reading the terminal would stop the process with SIGTTIN.
        shell = (
            "import fcntl, os, signal, subprocess, sys, termios\n"
            "os.setsid()\n"
            "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
            "job = subprocess.Popen([sys.executable, *sys.argv[1:]], process_group=0)\n"
            "signal.signal(signal.SIGTERM, lambda *_: job.terminate())\n"
            "sys.exit(job.wait())\n"
        )
        master, slave = os.openpty()
        with Server(stdin=slave, wrapper=(sys.executable, "-c", shell)) as server:
            os.write(master, b"typed for someone else\n")
            server.assert_serves()
            with Client(server.port, "Venkat") as venkat:
                server.expect("username: Venkat")
                venkat.send("still serving")
                server.expect_line("Received message from Venkat: still serving")
            os.close(slave)
            assert server.stop() == 0
        os.close(master)


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"SSH-2.0-OpenSSH_9.6\r\n", "frame header b'SSH-2.0-Op' is not a number padded with spaces"),
            (b"          x", "frame header b'          ' is not a number padded with spaces"),
            (b"1 2       x", "frame header b'1 2       ' is not a number padded with spaces"),
            (b"-1        x", "frame header b'-1        ' is not a number padded with spaces"),
            (b"1_0       x", "frame header b'1_0       ' is not a number padded with spaces"),
            ("١         ".encode()[:10], "frame header"),
            (b"65537     ", "frame of 65537 bytes is over the limit of 65536"),
            (b"9999999999", "frame of 9999999999 bytes is over the limit of 65536"),
        ],
    )
    @pytest.mark.parametrize("named", [True, False])
    def test_invalid_frame_closes_only_its_connection(self, data: bytes, reason: str, named: bool) -> None:
        if not named:
            reason = reason.replace("65536", "4096")
        with Server("--no-roster") as server, Client(server.port, "Narayan") as narayan:
            server.expect("Narayan")
            with Client(server.port, "Eve" if named else None) as eve:
                if named:
                    eve.send("before")
                eve.send_raw(data)
                who = f"{eve.address}, username: Eve" if named else eve.address
                server.expect(f"Closed connection from {re.escape(who)} \\({re.escape(reason)}")
                user, reason_text = eve.read_pair()
                assert user == "Server"
                assert reason_text.startswith(f"Closing this connection: {reason}")
                assert eve.read_to_end() == b""
            if named:
                assert narayan.read_pair() == ("Eve", "before")
            server.assert_serves()

    def test_invalid_utf8_in_a_name_is_replaced(self) -> None:
        with Server() as server, Client(server.port, None) as eve:
            eve.send(b"\xff\xfe")
            server.expect_line(f"Closed connection from {eve.address} (username is not UTF-8)")
            assert eve.read_pair() == ("Server", "Closing this connection: username is not UTF-8.")

    def test_largest_frame_is_relayed(self) -> None:
        with Server("--no-roster") as server:
            with Client(server.port, "a") as one, Client(server.port, "b") as other:
                server.expect("username: [ab]\n(.|\n)*username: [ab]\n")
                one.send("x" * 65536)
                assert other.read_pair() == ("a", "x" * 65536)

    def test_stream_may_end_inside_a_frame(self) -> None:
        with Server("--no-roster") as server:  # an unread roster would reset the connection
            with Client(server.port, "Eve") as eve:
                eve.send_raw(b"20        half of i")
            server.expect_line(
                f"Closed connection from {eve.address}, username: Eve "
                "(stream ended inside a frame, 11 bytes short)"
            )

    @pytest.mark.slow
    def test_name_must_be_complete_in_ten_seconds_even_if_it_trickles(self) -> None:
        with Server() as server, Client(server.port) as silent, Client(server.port) as trickler:
            trickler.sock.settimeout(0.5)
            for byte in b"30        a name that never ends":
                try:
                    trickler.send_raw(bytes([byte]))
                    if trickler.sock.recv(1):
                        break
                except TimeoutError:
                    pass
            for client in (silent, trickler):
                server.expect(rf"Closed connection from {client.address} \(no username within 10 s\)")

    def test_clients_over_the_maximum_are_refused(self) -> None:
        with Server("--max-clients=2", "--no-roster") as server:
            with Client(server.port, "a") as one, Client(server.port, "b") as two:
                server.expect("username: b")
                with Client(server.port, "c") as three:
                    server.expect_line(
                        f"Closed connection from {three.address} (server is full (2 connections))"
                    )
                    assert three.read_to_end() == pair(
                        "Server", "Closing this connection: server is full (2 connections)."
                    )
                one.send("hi")
                assert two.read_pair() == ("a", "hi")
                one.close()
                server.expect("Closed connection from .*username: a")
                eventually(lambda: joins(server), "a place is free again")
            assert server.stop() == 0

    def test_reset_shows_one_line_and_leaks_nothing(self) -> None:
        with Server("--no-roster") as server, Client(server.port, "Narayan") as narayan:
            server.expect("Narayan")
            before = server.descriptors()
            for _ in range(50):
                with Client(server.port, "Eve") as eve:
                    server.expect("Accepted .*Eve")
                    narayan.send("hello")
                    eve.reset()
                    server.expect(r"Closed connection from .*Eve \((connection reset by peer|broken pipe)\)")
            eventually(lambda: server.descriptors() == before, "all descriptors given back")
            server.assert_serves()

    def test_stalled_reader_is_lapped_and_nobody_else_notices(self) -> None:
        with Server("--no-roster") as server, Client(server.port, "stalled") as stalled:
            lines: list[bytes] = []
            drain = threading.Thread(
                target=lambda: lines.extend(line[:200] for line in server.process.stdout)
            )
            drain.start()
            with Client(server.port, "reader") as reader, Client(server.port, "writer") as writer:
                eventually(lambda: len([line for line in lines if b"Accepted" in line]) == 3, "all are in")
                body = "x" * 60_000
                memory = server.resident_bytes()
                for number in range(400):  # 24 MB: more than any socket buffer
                    writer.send(f"{number} {body}")
                    assert reader.read_pair() == ("writer", f"{number} {body}")
                assert server.resident_bytes() - memory < 16 << 20
                assert server.stop() == 0
            drain.join()
            assert (
                f"Closed connection from {stalled.address}, username: stalled "
                "(reader too slow, more than 1048576 bytes behind)\n"
            ).encode() in lines


def joins(server: Server) -> bool:
    with Client(server.port, "d") as client:
        client.sock.settimeout(0.2)
        try:
            return b"full" not in client.sock.recv(1000)
        except TimeoutError:
            return True


class TestDescriptors:
    def test_accepting_pauses_when_descriptors_run_out(self) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        with Server(preexec_fn=limit) as server:
            clients = [Client(server.port, f"user{number}") for number in range(50)]
            for number in range(32):
                server.expect(f"username: user{number}\n")
            server.assert_idle()
            assert "username: user32" not in server.seen
            for client in clients[:20]:
                client.close()
            for number in range(32, 50):
                server.expect(f"username: user{number}\n")
            for client in clients[20:]:
                client.close()
            assert server.stop() == 0

    @pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
    def test_one_address_may_hold_64_connections(self) -> None:
        script = (
            "import subprocess, sys\n"
            "from tests.e2e.support import *\n"
            "with Server('--no-roster', host='192.0.2.1') as server:\n"
            "    clients = [Client(server.port, f'user{n}', '192.0.2.1') for n in range(64)]\n"
            "    server.expect('username: user63\\n')\n"
            "    with Client(server.port, 'more', '192.0.2.1') as more:\n"
            "        server.expect(r'Closed .* .more than 64 connections from one')\n"
            "        assert b'more than 64 connections from one address' in more.read_to_end()\n"
            "    clients.pop().close()\n"
            "    server.expect('Closed connection from .*user63')\n"
            "    clients.append(Client(server.port, 'again', '192.0.2.1'))\n"
            "    server.expect('username: again')\n"
            "    [client.close() for client in clients]\n"
            "print('done')\n"
        )
        # An address of this namespace's own loopback interface that is no loopback address.
        up = "ip link set lo up && ip address add 192.0.2.1/32 dev lo"
        try:
            probe = subprocess.run(["unshare", "--net", "sh", "-c", up], capture_output=True)
        except FileNotFoundError:
            pytest.skip("unshare is not installed")
        if probe.returncode:
            pytest.skip(f"no network namespace here: {probe.stderr.decode().strip()}")
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", f'{up} && exec "$0" -c "$1"', sys.executable, script],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout == "done\n", done.stderr


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_notifies_everyone_and_exits_with_0(self, number: int) -> None:
        with (
            Server("--no-roster") as server,
            Client(server.port, "a") as one,
            Client(server.port, "b") as two,
        ):
            server.expect("username: b")
            assert server.stop(number) == 0
            for client in (one, two):
                assert client.read_to_end() == pair("Server", "The server is shutting down.")
            assert server.errors() == ""

    def test_messages_before_the_shutdown_still_arrive(self) -> None:
        with Server("--no-roster") as server:
            with Client(server.port, "a") as one, Client(server.port, "b") as two:
                server.expect("username: [ab]\n(.|\n)*username: [ab]\n")
                one.send_raw(b"".join(frame(f"message {number}") for number in range(1000)))
                assert two.read_pair() == ("a", "message 0")
                server.process.terminate()
                got = two.read_to_end()
                assert got.endswith(pair("Server", "The server is shutting down."))
                assert server.wait() == 0

    def test_second_signal_exits_at_once(self) -> None:
        for _ in range(10):  # the second has to come while the server waits a second for its peer to close
            with Server("--no-roster") as server, Client(server.port, "stays") as stays:
                server.expect("username: stays")
                server.process.terminate()
                assert stays.read_to_end() == pair("Server", "The server is shutting down.")
                server.process.terminate()
                status = server.wait()
            if status == 128 + signal.SIGTERM:
                return
            assert status == 0  # the signal arrived too late
        pytest.fail("the second signal made no difference")

    def test_port_can_be_reused_at_once(self) -> None:
        with Server() as first:
            with Client(first.port, "a"):
                assert first.stop() == 0
            port = first.port
        with Server(port=port) as second:
            second.assert_serves()


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["serve", "--port=70000"], 2, "--port: 70000 is not a port number from 0 to 65535"),
            (["serve", "--port=x"], 2, "--port: 'x' is not a whole number"),
            (["serve", "--key=secret"], 2, "--key: 'secret' is not a number in digits 0 to 9"),
            (["serve", "--log-format=xml"], 2, "--log-format: 'xml' is not text or json"),
            (["serve", "--header-length=0"], 2, "--header-length: 0 is not"),
            (["serve", "--bogus"], 2, "unknown option --bogus"),
            (["serve", "--port"], 2, "--port needs a value: --port=PORT"),
            (["serve", "extra"], 2, "unexpected argument 'extra'"),
            (["sreve"], 2, "there is no command 'sreve'"),
            (["serve", "--host=999.1.1.1", "--port=0"], 1, "cannot listen on 999.1.1.1:0"),
            (["serve", "--host=192.0.2.7", "--port=0"], 1, "cannot listen on 192.0.2.7:0: cannot assign"),
        ],
    )
    def test_usage_error_is_one_line(self, arguments: list[str], status: int, message: str) -> None:
        done = selchat(*arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith(f"selchat: {message}")
        assert done.stderr.count("\n") == 1

    def test_port_in_use_is_a_one_line_error(self) -> None:
        with Server() as server:
            done = selchat("serve", "--host=127.0.0.1", f"--port={server.port}")
        assert done.returncode == 1
        assert done.stderr == (
            f"selchat: cannot listen on 127.0.0.1:{server.port}: address already in use; "
            "is another server running? Choose another port with --port=PORT\n"
        )

    @pytest.mark.parametrize("command", [["serve"], ["chat"], ["send"], []])
    def test_help(self, command: list[str]) -> None:
        done = selchat(*command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage:" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 110

    def test_version(self) -> None:
        assert re.fullmatch(r"selchat \d+\.\d+\.\d+\n", selchat("--version").stdout)


def test_ipv6_address_accepts_both_families() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = Server("--no-roster", host="::")
    except AssertionError:
        pytest.skip("no IPv6 here")
    with server, Client(server.port, "six", "::1") as six, Client(server.port, "four", "127.0.0.1") as four:
        server.expect_line(f"Accepted new connection from {six.address}, username: six")
        server.expect_line(f"Accepted new connection from {four.address}, username: four")
        six.send("hi")
        assert four.read_pair() == ("six", "hi")


def selchat(*arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run(
        [*SELCHAT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
