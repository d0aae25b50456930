"""The Python API on a real server, and all programs of docs/bots.rst as processes of their own."""

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
from tests.e2e.support import DEADLINE, Server, eventually, meet
from tests.e2e.support import Client as ClassicClient

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "bots.rst").read_text()
_BLOCK = r"^\.\. code-block:: python\n   :name: (\S+)\n\n((?:   .*\n|\n)+)"
WORDS = "correct horse battery staple"  # the passphrase of a program that wants one
PROGRAMS = dict(re.findall(_BLOCK, GUIDE, re.MULTILINE))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--quiet", "--no-history") as server:
        yield server


def client(server: Server, name: str, **more: object) -> Client:
    given = {"name": name, "secret": f"the secret of {name} alone", "wire": "selchat", "timeout": DEADLINE}
    return Client("127.0.0.1", server.port, **given | more)  # type: ignore[arg-type]


def receive(chat: Client, kind: type[object]) -> object:
    """The next event of that kind."""
    while not isinstance(event := chat.receive(DEADLINE), kind):
        assert event is not None, f"no {kind.__name__}"
    return event


def hear(chat: Client, author: str, start: str = "") -> str:
    """What that one says next, if it begins so."""
    while True:
        message = receive(chat, Message)
        assert isinstance(message, Message)
        if message.author == author and message.body.startswith(start):
            return message.body


# -- talking -------------------------------------------------------------------------------------------


def test_two_of_them(server: Server) -> None:
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


def test_history_and_own_messages(server: Server) -> None:
    with client(server, "Venkat") as venkat:
        for number in range(1200):
            venkat.say(str(number))
        venkat.flush()
        assert [message.body for message in venkat.history(limit=2000)] == [str(n) for n in range(1200)]
    with client(server, "Narayan", history=3) as narayan, client(server, "Venkat", history=3) as venkat:
        narayan.say("now", wait=True)
        venkat.say("now", wait=True)
        bodies = [hear(narayan, "Venkat") for _ in range(4)]
        assert bodies == ["1197", "1198", "1199", "now"]
        message = receive(venkat, Message)  # its own of an earlier run do not come
        assert isinstance(message, Message)
        assert message.author == "Narayan"


def test_a_million_characters_in_each_direction(server: Server) -> None:
    bodies = [f"{number} " + "ü" * 20_000 for number in range(50)]
    with client(server, "Venkat") as venkat, client(server, "Narayan") as narayan:
        for body in bodies:
            venkat.say(body)
            narayan.say(body)
        assert [hear(narayan, "Venkat") for _ in bodies] == bodies
        assert [hear(venkat, "Narayan") for _ in bodies] == bodies


def test_with_those_who_speak_the_papers_wire(server: Server) -> None:
    with ClassicClient(server.port, "Rishabh") as rishabh, client(server, "Venkat") as venkat:
        venkat.say("hello", wait=True)
        rishabh.read_until("Venkat", "hello")
        rishabh.send("hi")
        assert hear(venkat, "Rishabh") == "hi"
    with client(server, "Narayan", wire="classic") as narayan, client(server, "Venkat") as venkat:
        venkat.say("hello", wait=True)
        assert hear(narayan, "Venkat") == "hello"
        eventually(lambda: (narayan.receive(0), narayan.users())[1] == ("Narayan", "Venkat"), "a roster")


# -- the end -------------------------------------------------------------------------------------------


def test_someone_elses_name(server: Server) -> None:
    with client(server, "Venkat"):
        with pytest.raises(NameTakenError, match="is taken"):
            client(server, "venkat", secret="the secret of another one").connect()


def test_the_same_name_from_somewhere_else(server: Server) -> None:
    with pytest.raises(DisconnectedError, match="you signed in from somewhere else"):
        with client(server, "Venkat") as older, client(server, "Venkat") as newer:
            assert newer.connected
            list(older)


def test_a_server_that_comes_back(server: Server) -> None:
    with client(server, "Venkat") as venkat, client(server, "Narayan") as narayan:
        assert server.stop() == 0
        assert receive(venkat, Lost)
        ids = [venkat.say(f"said while it was away {number}") for number in range(3)]
        assert not venkat.connected
        with Server("--quiet", "--no-history", port=server.port):
            assert venkat.users()[-1] == "Venkat"
            venkat.flush(DEADLINE)
            messages = [receive(narayan, Message) for _ in range(3)]
            assert [message.id for message in messages if isinstance(message, Message)] == ids


# -- the programs of the guide ---------------------------------------------------------------------------


class Program:
    """A program as a process, with a data folder of its own, on the test's server."""

    def __init__(self, code: str, server: Server, folder: Path) -> None:
        path = folder / "bot.py"
        path.write_text(
            textwrap.dedent(code).replace("192.168.43.158", f"127.0.0.1:{server.port}").replace("3600", "1")
        )
        meet(server.port, server.fingerprint, folder=folder)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path)],
            env={**os.environ, "XDG_DATA_HOME": str(folder), "KEEPER_PASSPHRASE": WORDS},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send it that signal, and return its status and what it has written."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        output, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, (output + errors).decode()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; the program must not end before."""

        def holds() -> bool:
            assert self.process.poll() is None, self.wait()
            return bool(condition())

        eventually(holds)


@contextmanager
def program(code: str, server: Server, folder: Path) -> Iterator[Program]:
    running = Program(code, server, folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def interrupted(program: Program) -> None:
    """End it by Ctrl-C, as which it ends by itself."""
    status, output = program.end()
    assert status == -signal.SIGINT, output
    assert output.rstrip().endswith("KeyboardInterrupt")


def try_echo(venkat: Client, program: Program) -> None:
    venkat.say("not for you")
    venkat.say("!echo hello")
    assert hear(venkat, "echo") == "hello"
    interrupted(program)


def try_porter(venkat: Client, program: Program) -> None:
    venkat.join("games")
    assert hear(venkat, "porter", "Welcome to games") == "Welcome to games, Venkat!"
    venkat.say("!dice", "games")
    assert re.fullmatch("Venkat rolls [1-6]", hear(venkat, "porter", "Venkat"))
    venkat.whisper("porter", "what do you know?")
    whisper = receive(venkat, Whispered)
    assert isinstance(whisper, Whispered)
    assert whisper.body == "I know these rooms: games, lobby"
    interrupted(program)


def try_clock(venkat: Client, program: Program) -> None:
    for _ in range(2):
        assert re.fullmatch(r"It is \d\d:\d\d\.", hear(venkat, "clock"))
    interrupted(program)


def try_report(venkat: Client, program: Program) -> None:
    assert re.fullmatch(r"Backup done, \d+ GiB free\.", hear(venkat, "backup"))
    assert program.wait() == (0, "")


def try_census(venkat: Client, program: Program) -> None:
    venkat.say("!census")
    assert hear(venkat, "census") == "Venkat 3"
    interrupted(program)


def try_careful(venkat: Client, program: Program) -> None:
    assert hear(venkat, "careful") == "That did not work: there is no one named Nobody"
    assert program.wait() == (0, "")


def try_keeper(venkat: Client, program: Program) -> None:
    venkat.say("!open", wait=True)
    given = {"name": "Michael", "secret": "the secret of Michael alone", "passphrase": WORDS}
    with Client("127.0.0.1", venkat._settings.port, **given, timeout=DEADLINE) as michael:  # type: ignore[arg-type]
        michael.say("!open", wait=True)
        assert hear(michael, "keeper") == "The door is open, Michael."
    interrupted(program)


def try_service(venkat: Client, program: Program) -> None:
    venkat.join("workshop")
    program.wait_until(lambda: "lights" in venkat.users("workshop"))
    venkat.say("!on", "workshop")
    assert hear(venkat, "lights") == "The light is on."
    assert program.end(signal.SIGTERM) == (0, "")


TRIALS: dict[str, tuple[str, Callable[[Client, Program], object]]] = {
    "echo.py": ("echo", try_echo),
    "porter.py": ("porter", try_porter),
    "clock.py": ("clock", try_clock),
    "report.py": ("", try_report),
    "census.py": ("census", try_census),
    "careful.py": ("", try_careful),
    "keeper.py": ("keeper", try_keeper),
    "service.py": ("lights", try_service),
}


def test_every_program_of_the_guide_is_tried() -> None:
    assert TRIALS.keys() == PROGRAMS.keys()
    assert len(PROGRAMS) == GUIDE.count(".. code-block:: python")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_guide(name: str, server: Server, tmp_path: Path) -> None:
    bot, trial = TRIALS[name]
    with client(server, "Venkat") as venkat:
        venkat.say("one")
        venkat.say("two")
        venkat.flush()
        with program(PROGRAMS[name], server, tmp_path) as process:
            process.wait_until(lambda: not bot or bot in everyone(venkat))
            trial(venkat, process)


def everyone(chat: Client) -> set[str]:
    """Who is in any room."""
    return {name for room in chat.rooms() for name in chat.users(room.room)}


@pytest.mark.parametrize(
    "text", [inspect.getdoc(Client), (ROOT / "README.rst").read_text()], ids=["class", "README"]
)
def test_the_bot_that_is_shown_elsewhere(text: str, server: Server, tmp_path: Path) -> None:
    [code] = re.findall(r"^    from selchat\.client import .*\n(?:    .*\n|\n)+", text, re.MULTILINE)
    with client(server, "Venkat") as venkat, program(code, server, tmp_path) as bot:
        bot.wait_until(lambda: "echo" in venkat.users())
        venkat.say("!echo hello")
        assert "hello" in hear(venkat, "echo")
        interrupted(bot)


def test_ctrl_c_while_there_is_no_server(server: Server, tmp_path: Path) -> None:
    with client(server, "Venkat") as venkat, program(PROGRAMS["echo.py"], server, tmp_path) as bot:
        bot.wait_until(lambda: "echo" in venkat.users())
        venkat.say("!echo hello")
        assert hear(venkat, "echo") == "hello"  # now it is in, and not only seen to be
        server.stop(signal.SIGKILL)
        assert bot.process.stderr is not None
        assert b"connection lost" in bot.process.stderr.readline()
        interrupted(bot)
