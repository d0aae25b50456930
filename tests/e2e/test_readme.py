"""The README's commands do what it says. Those that set up, serve and test are run by ``.ci/run``."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import DEADLINE, Server

README = Path(__file__).parents[2] / "README.rst"
COMMANDS = re.findall(r"^    (?:.* \| )?(selchat(?:-bench)? (?!serve).*)$", README.read_text(), re.MULTILINE)


SCRIPT = re.findall(r"^    ((?:TOKEN=|curl ).*)$", README.read_text(), re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_script_of_the_readme() -> None:
    assert [line.split()[0] for line in SCRIPT] == ["TOKEN=$(selchat", "curl"]
    with Server() as server:
        script = "\n".join(["set -e", *SCRIPT]).replace("localhost:33000", f"localhost:{server.port}")
        script = script.replace("$(selchat ", f"$({shlex.quote(sys.executable)} -m selchat ")
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=DEADLINE, check=True)
        assert json.loads(done.stdout)["from"] == "ci"
        server.expect_line("Received message from ci: The build is green")


def test_there_are_commands() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"selchat", "selchat-bench"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme(command: str, tmp_path: Path) -> None:
    history = f"--history={tmp_path / 'history.sqlite'}"
    with Server(history) as server:
        program, *words = shlex.split(command)
        words = [re.sub(r"192\.168\.43\.158(:33000)?", f"127.0.0.1:{server.port}", word) for word in words]
        if program == "selchat-bench":  # the same work, less of it
            words = [re.sub(r"--clients=\d+", "--clients=5", word) for word in words] + ["--duration=1"]
        if "export" in words:
            words.append(history)
        if "--passphrase-file=words" in words:
            passphrase = tmp_path / "words"
            passphrase.write_text("correct horse battery staple")
            passphrase.chmod(0o600)
            words[words.index("--passphrase-file=words")] = f"--passphrase-file={passphrase}"
        module = {"selchat": "selchat.cli", "selchat-bench": "selchat.bench.cli"}[program]
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())", *words],
            input=b"paper is out\n",
            capture_output=True,
            timeout=DEADLINE * 2,
        )
        # 3 says that a machine as busy as this one missed the --fail-if, which is no business of a test.
        assert done.returncode in ({0, 3} if "--fail-if" in words else {0}), done.stderr
        if program == "selchat" and not {"export", "hash-password"} & set(words):
            said = "The build is green" if "send" in words else "paper is out"
            said = r"\(encrypted\)" if "--passphrase-file" in command else said
            server.expect(f"Received message from .*: {said}\n")
