"""The Python API on a real server, and each program of docs/bots.rst in its own process."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from selchat.client import (
    Client,
    DisconnectedError,
    Joined,
    Left,
    Lost,
    Message,
    NameTakenError,
    RefusedError,
    Topic,
    Whispered,
)
from tests.e2e.support import DEADLINE, Server, eventually, trust_server
from tests.e2e.support import Client as ClassicClient

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "bots.rst").read_text()
_BLOCK = r"^\.\. code-block:: python\n   :name: (\S+)\n\n((?:   .*\n|\n)+)"
WORDS = "correct horse battery staple"  # the passphrase of keeper.py
PROGRAMS = dict(re.findall(_BLOCK, GUIDE, re.MULTILINE))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--quiet", "--no-history") as server:
        yield server


def client(server: Server, name: str, **more: object) -> Client:
    given = {"name": name, "secret": f"the secret of {name} alone", "wire": "selchat", "timeout": DEADLINE}
    return Client("127.0.0.1", server.port, **given | more)  # type: ignore[arg-type]


def receive(chat: Client, kind: type[object]) -> object:
    """Return the next event of that type, and skip others."""
    while not isinstance(event := chat.receive(DEADLINE), kind):
        assert event is not None, f"no {kind.__name__}"
    return event


def next_body(chat: Client, author: str, start: str = "") -> str:
    """Return the author's next message that starts like this."""
    while True:
        message = receive(chat, Message)
        assert isinstance(message, Message)
        if message.author == author and message.body.startswith(start):
            return message.body


# -- messages ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_bots_use_messages_rooms_and_topics(server: Server) -> None:
    with client(server, "Venkat") as venkat, client(server, "Narayan") as narayan:
        assert venkat.users() == ("Narayan", "Venkat")
        assert receive(venkat, Joined) == Joined("lobby", ("Narayan",), 2)
        assert venkat.names() == narayan.names() == ("Narayan", "Venkat")

        id = venkat.say("hello\nthere", wait=True)
        message = receive(narayan, Message)
        assert isinstance(message, Message)
        assert (message.author, message.body, message.seq, message.id) == ("Venkat", "hello\nthere", 1, id)

        narayan.whisper("venkat", "psst", wait=True)
        whisper = receive(venkat, Whispered)
        assert isinstance(whisper, Whispered)
        assert (whisper.author, whisper.body) == ("Narayan", "psst")

        narayan.join("#Engine-Room")
        venkat.join("engine-room")
        narayan.set_topic("Oil", "engine-room")
        topic = receive(venkat, Topic)
        assert isinstance(topic, Topic)
        assert (topic.room, topic.topic, topic.author) == ("Engine-Room", "Oil", "Narayan")
        assert venkat.topic("engine-room") == "Oil"
        assert [(room.room, room.members, room.topic) for room in venkat.rooms()] == [
            ("Engine-Room", 2, "Oil"),
            ("lobby", 2, ""),
        ]
        assert receive(narayan, Joined) == Joined("Engine-Room", ("Venkat",), 2)
        narayan.part("engine-room")
        assert receive(venkat, Left) == Left("Engine-Room", ("Narayan",), 1)
        with pytest.raises(RefusedError) as caught:
            narayan.say("anyone?", "engine-room", wait=True)
        assert caught.value.code == "not-in-room"
        assert [message.body for message in narayan.history()] == ["hello\nthere"]


def test_history_pages_and_history_at_the_start(server: Server) -> None:
    with client(server, "Venkat") as venkat:
        for number in range(1200):
            venkat.say(str(number))
        venkat.flush()
        assert [message.body for message in venkat.history(limit=2000)] == [str(n) for n in range(1200)]
    with client(server, "Narayan", history=3) as narayan, client(server, "Venkat", history=3) as venkat:
        narayan.say("now", wait=True)
        venkat.say("now", wait=True)
        bodies = [next_body(narayan, "Venkat") for _ in range(4)]
        assert bodies == ["1197", "1198", "1199", "now"]
        message = receive(venkat, Message)  # not its own messages from the earlier run
        assert isinstance(message, Message)
        assert message.author == "Narayan"


def test_a_million_characters_in_each_direction(server: Server) -> None:
    bodies = [f"{number} " + "ü" * 20_000 for number in range(50)]
    with client(server, "Venkat") as venkat, client(server, "Narayan") as narayan:
        for body in bodies:
            venkat.say(body)
            narayan.say(body)
        assert [next_body(narayan, "Venkat") for _ in bodies] == bodies
        assert [next_body(venkat, "Narayan") for _ in bodies] == bodies


def test_bots_and_classic_clients_talk_to_each_other(server: Server) -> None:
    with ClassicClient(server.port, "Rishabh") as rishabh, client(server, "Venkat") as venkat:
        venkat.say("hello", wait=True)
        rishabh.read_until("Venkat", "hello")
        rishabh.send("hi")
        assert next_body(venkat, "Rishabh") == "hi"
    with client(server, "Narayan", wire="classic") as narayan, client(server, "Venkat") as venkat:
        venkat.say("hello", wait=True)
        assert next_body(narayan, "Venkat") == "hello"
        eventually(lambda: (narayan.receive(0), narayan.users())[1] == ("Narayan", "Venkat"), "a roster")


# -- errors -------------------------------------------------------------------------------------------


def test_a_name_of_another_owner_raises(server: Server) -> None:
    with client(server, "Venkat"):
        with pytest.raises(NameTakenError, match="is taken"):
            client(server, "venkat", secret="the secret of another user").connect()


def test_a_newer_client_replaces_an_older_one(server: Server) -> None:
    with pytest.raises(DisconnectedError, match="you signed in from somewhere else"):
        with client(server, "Venkat") as older, client(server, "Venkat") as newer:
            assert newer.connected
            list(older)


def test_a_server_restart_loses_no_message(server: Server) -> None:
    with client(server, "Venkat") as venkat, client(server, "Narayan") as narayan:
        assert server.stop() == 0
        assert receive(venkat, Lost)
        ids = [venkat.say(f"sent while offline {number}") for number in range(3)]
        assert not venkat.connected
        with Server("--quiet", "--no-history", port=server.port):
            assert venkat.users()[-1] == "Venkat"
            venkat.flush(DEADLINE)
            messages = [receive(narayan, Message) for _ in range(3)]
            assert [message.id for message in messages if isinstance(message, Message)] == ids


# -- the programs of the guide ---------------------------------------------------------------------------


class Program:
    """A program of the guide as a process, with its own data folder, on the test's server."""

    def __init__(self, code: str, server: Server, folder: Path) -> None:
        self.port = server.port
        path = folder / "bot.py"
        path.write_text(
            # The hour becomes a second first: the port may contain 3600.
            textwrap.dedent(code).replace("3600", "1").replace("192.168.43.158", f"127.0.0.1:{server.port}")
        )
        trust_server(server.port, server.fingerprint, folder=folder)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path)],
            env={**os.environ, "XDG_DATA_HOME": str(folder), "KEEPER_PASSPHRASE": WORDS},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal, and return the exit status and the output."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        output, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, (output + errors).decode()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for the condition; the program must not exit before."""

        def is_met() -> bool:
            assert self.process.poll() is None, self.wait()
            return bool(condition())

        eventually(is_met)


@contextmanager
def program(code: str, server: Server, folder: Path) -> Iterator[Program]:
    running = Program(code, server, folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def interrupt(program: Program) -> None:
    """Press Ctrl-C, and check that the program exits because of it."""
    status, output = program.end()
    assert status == 130
    assert output == ""


def check_echo(venkat: Client, program: Program) -> None:
    venkat.say("not for you")
    venkat.say("!echo hello")
    assert next_body(venkat, "echo") == "hello"
    interrupt(program)


def check_porter(venkat: Client, program: Program) -> None:
    venkat.join("games")
    assert next_body(venkat, "porter", "Welcome to games") == "Welcome to games, Venkat!"
    venkat.say("!dice", "games")
    assert re.fullmatch("Venkat rolls [1-6]", next_body(venkat, "porter", "Venkat"))
    venkat.whisper("porter", "what do you know?")
    whisper = receive(venkat, Whispered)
    assert isinstance(whisper, Whispered)
    assert whisper.body == "I know these rooms: games, lobby"
    interrupt(program)


def check_clock(venkat: Client, program: Program) -> None:
    for _ in range(2):
        assert re.fullmatch(r"It is \d\d:\d\d\.", next_body(venkat, "clock"))
    interrupt(program)


def check_report(venkat: Client, program: Program) -> None:
    assert re.fullmatch(r"Backup done, \d+ GiB free\.", next_body(venkat, "backup"))
    assert program.wait() == (0, "")


def check_census(venkat: Client, program: Program) -> None:
    venkat.say("!census")
    assert next_body(venkat, "census") == "Venkat 3"
    interrupt(program)


def check_careful(venkat: Client, program: Program) -> None:
    assert next_body(venkat, "careful") == "That did not work: there is no one named Nobody"
    assert program.wait() == (0, "")


def check_keeper(venkat: Client, program: Program) -> None:
    venkat.say("!open", wait=True)
    given = {"name": "Michael", "secret": "the secret of Michael alone", "passphrase": WORDS}
    with Client("127.0.0.1", program.port, **given, timeout=DEADLINE) as michael:  # type: ignore[arg-type]
        michael.say("!open", wait=True)
        assert next_body(michael, "keeper") == "The door is open, Michael."
    interrupt(program)


def check_service(venkat: Client, program: Program) -> None:
    venkat.join("workshop")
    program.wait_until(lambda: "lights" in venkat.users("workshop"))
    venkat.say("!on", "workshop")
    assert next_body(venkat, "lights") == "The light is on."
    assert program.end(signal.SIGTERM) == (0, "")


CHECKS: dict[str, tuple[str, Callable[[Client, Program], object]]] = {
    "echo.py": ("echo", check_echo),
    "porter.py": ("porter", check_porter),
    "clock.py": ("clock", check_clock),
    "report.py": ("", check_report),
    "census.py": ("census", check_census),
    "careful.py": ("", check_careful),
    "keeper.py": ("keeper", check_keeper),
    "service.py": ("lights", check_service),
}


def test_every_program_of_the_guide_has_a_check() -> None:
    assert CHECKS.keys() == PROGRAMS.keys()
    assert len(PROGRAMS) == GUIDE.count(".. code-block:: python")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_guide_works(name: str, server: Server, tmp_path: Path) -> None:
    bot, check = CHECKS[name]
    with client(server, "Venkat") as venkat:
        venkat.say("one")
        venkat.say("two")
        venkat.flush()
        with program(PROGRAMS[name], server, tmp_path) as process:
            process.wait_until(lambda: not bot or bot in online(venkat))
            check(venkat, process)


def online(chat: Client) -> set[str]:
    """Return the members of all rooms."""
    return {name for room in chat.rooms() for name in chat.users(room.room)}


@pytest.mark.parametrize(
    "text", [inspect.getdoc(Client), (ROOT / "README.rst").read_text()], ids=["class", "README"]
)
def test_the_bot_in_the_readme_and_the_docstring_works(text: str, server: Server, tmp_path: Path) -> None:
    [code] = re.findall(r"^    from selchat\.client import .*\n(?:    .*\n|\n)+", text, re.MULTILINE)
    with client(server, "Venkat") as venkat, program(code, server, tmp_path) as bot:
        bot.wait_until(lambda: "echo" in venkat.users())
        venkat.say("!echo hello")
        assert "hello" in next_body(venkat, "echo")
        interrupt(bot)


def test_ctrl_c_ends_a_bot_without_a_server(server: Server, tmp_path: Path) -> None:
    with client(server, "Venkat") as venkat, program(PROGRAMS["echo.py"], server, tmp_path) as bot:
        bot.wait_until(lambda: "echo" in venkat.users())
        venkat.say("!echo hello")
        assert next_body(venkat, "echo") == "hello"  # the bot is now in its loop
        server.stop(signal.SIGKILL)
        assert bot.process.stderr is not None
        assert b"connection lost" in bot.process.stderr.readline()
        interrupt(bot)
