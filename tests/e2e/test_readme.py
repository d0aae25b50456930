"""Run every command in the README and in the manuals, and check its effect.

``.ci/run`` runs the commands that set up, serve and test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selchat import cli
from tests.e2e.processes import SELCHAT
from tests.e2e.support import DEADLINE, Client, Server
from tests.e2e.terminal_support import CHAT, Terminal

ROOT = Path(__file__).parents[2]
PAGES = ["README.rst", "docs/users.rst", "docs/operators.rst", "docs/measuring.rst"]
HOST = "192.168.43.158"  # of the examples
SECRET = "correct horse battery staple"


def commands_of(page: str) -> list[str]:
    """Return the commands in the literal blocks of a page, except ``selchat serve``."""
    commands = re.findall(
        r"^    ((?:[\w-]+ .*\| )?(?:selchat|TOKEN=|curl).*)$", (ROOT / page).read_text(), re.MULTILINE
    )
    return [command for command in commands if not command.startswith("selchat serve")]


def test_pages_show_commands_of_each_program() -> None:
    programs = {
        re.search(r"selchat(-bench)?|curl", command)[0] for page in PAGES for command in commands_of(page)
    }  # type: ignore[index]
    assert programs == {"selchat", "selchat-bench", "curl"}


def test_readme_is_at_most_6500_characters() -> None:
    assert len((ROOT / "README.rst").read_text()) <= 6500


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
# The README has all commands of the manual on measuring.
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if "measuring" in page else ()) for page in PAGES]
)
def test_commands_of_a_page_work_in_their_order(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for program, module in (("selchat", "selchat"), ("selchat-bench", "selchat.bench.cli")):
        (folder / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (folder / program).chmod(0o755)
    (tmp_path / "printer.log").write_text("paper is out\n")
    (tmp_path / "words").write_text(SECRET)
    (tmp_path / "words").chmod(0o600)
    variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with Server(f"--history={tmp_path / 'history.sqlite'}") as server:
        script = ["set -e"]
        for command in commands_of(page):
            command = re.sub(rf"{re.escape(HOST)}(:33000)?", f"127.0.0.1:{server.port}", command)
            command = command.replace("localhost:33000", f"localhost:{server.port}")
            command = command.replace("tail -f", "cat")  # which ends
            if command.startswith("selchat-bench"):  # fewer clients, for a shorter time
                command = re.sub(r"--clients=\d+", "--clients=5", command) + " --duration=0.3"
                # 3 says that this machine missed the --fail-if, as a busy one may.
                command = f"{{ {command} || test $? = 3; }}" if "--fail-if" in command else command
            elif command.startswith("selchat export"):
                command += f" --history={tmp_path / 'history.sqlite'}"
            elif command.startswith(("selchat chat", "selchat hash-password")):
                command = f"echo paper is out | {command}"
            script.append(command)
        done = subprocess.run(
            ["sh", "-c", "\n".join(script)],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            timeout=6 * DEADLINE,
        )
        assert done.returncode == 0, done.stderr
        for command in commands_of(page):
            name = (
                re.search(r"--name=(\w+)", command) or re.search(r"token (\w+)", command) or [".*", ".*"]
            )[1]
            if command.startswith(("selchat send", "curl")):
                server.expect(f"Received message from {name}: The build is green\n")
            elif "--passphrase-file" in command:
                server.expect(r"Received message from .*: \(encrypted\)\n")
            elif "selchat chat" in command:
                server.expect(f"Received message from {name}: paper is out\n")


def test_bot_of_the_readme_answers(tmp_path: Path) -> None:
    text = (ROOT / "README.rst").read_text()
    code = re.search(r"^    from selchat\.client.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    with Server() as server:
        bot = tmp_path / "bot.py"
        bot.write_text(re.sub("(?m)^    ", "", code[0]).replace(HOST, f"127.0.0.1:{server.port}"))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, str(bot)], env=environment) as process:
            try:
                server.expect("username: echo\n")
                with Client(server.port, "Venkat") as venkat:
                    venkat.send("!echo hello")
                    venkat.read_until("echo", "hello")
            finally:
                process.kill()


def demo(title: str) -> list[str]:
    """Return the lines that the README shows under a title, without the command."""
    block = re.search(
        rf"^{title}::\n\n(.*?)(?=^\S)", (ROOT / "README.rst").read_text(), re.MULTILINE | re.DOTALL
    )
    assert block is not None
    return [line.strip() for line in block[1].strip().splitlines()][1:]


def masked(lines: list[str]) -> list[str]:
    """Return the lines without QR code, addresses, ports and fingerprints."""
    lines = [line.strip() for line in lines if line.strip() and not re.search("[█▀▄]", line)]
    text = re.sub(r"\b[0-9a-f]{4}( [0-9a-f]{4}){15}\b", "FINGERPRINT", "\n".join(lines))
    return re.sub(r"(\d+\.\d+\.\d+\.\d+|localhost)(:\d+)?", "HOST", text).splitlines()


def test_the_demo_shows_all_lines_and_no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def chat(name: str) -> Terminal:
        folder = tmp_path / name  # each user has a device
        terminal = Terminal(
            *CHAT, f"{host}:{port}", environment={"XDG_DATA_HOME": str(folder)}, columns=120, rows=60
        )
        terminal.shows("Username:")
        terminal.type(f"{name}\r")
        return terminal

    with Terminal(*SELCHAT, "serve", "--port=0", columns=120, rows=60) as server:
        server.shows("In a browser on this machine")
        address = re.search(r"https://([\d.]+):(\d+)/", server.text)
        if address is None:
            pytest.skip("this machine has no address for others")
        host, port = address[1], address[2]
        with chat("Venkat") as venkat:
            venkat.shows("You >>")
            with chat("Michael") as michael:
                michael.shows("You are in lobby (2 here)")
                venkat.type("Hey! Please introduce yourself...\r")
                michael.shows("introduce yourself")
                michael.type("Hey Guys! This is Michael here.\r")
                venkat.shows("This is Michael here")
                michael.type("a half-typed line stays who")
                michael.shows("stays who")
                server.shows("Received message from Michael")
                server.type("Tea is ready\r")
                server.shows("Tea is ready")
                michael.ends_with("Server > Tea is ready", "You >> a half-typed line stays who")
                for title, terminal in (("The server's terminal", server), ("Michael's terminal", michael)):
                    assert masked(terminal.lines) == masked(demo(title))


def test_no_two_examples_use_one_name_for_different_senders() -> None:
    """A name belongs to its first sender: a token cannot get the name of a client."""
    text = "\n".join(path.read_text() for path in [ROOT / "README.rst", *ROOT.glob("docs/*.rst")])
    text += cli.TOKEN_HELP
    clients = set(re.findall(r"--name=(\w+)|Client\([^)]*name=\"(\w+)\"", text))
    tokens = set(re.findall(r"\$\(selchat token (\w+)\)", text))
    assert tokens
    assert not tokens & {name for pair in clients for name in pair}
