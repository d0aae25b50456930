"""Who is measured, and how each is configured. Beside each setting: why it is there.

Three rules for all: listen on 127.0.0.1 only, keep nothing on disk, and have no limit on queues or rates,
so that every server does all of the work and none is punished for a load that it was not meant to trust.
What a server does to be fast (batches, threads, buffers) stays as its authors ship it. All of a server's
threads share its one core.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.audience import payload
from harness.processes import Server, free_port
from harness.wires import SENDER, Classic, Irc, Mqtt, Nats, Redis, WebSocket, Wire

_SERVERS = Path(__file__).parent.parent / "servers"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

Start = Callable[[Path, int, int], Server]
"""``start(folder, core, receivers)``: the folder is a fresh one for the server alone."""


@dataclass(frozen=True)
class Contender:
    """One server. ``kind`` is its group in tables and charts: selchat, floor, broker or python."""

    key: str
    name: str
    kind: str
    wire: Callable[[], Wire]
    start: Start
    version: Callable[[], str]
    missing: Callable[[], str | None]
    most_receivers: int = 1 << 30
    parses: bool = True  # whether what it delivers is what was sent, and not only as much


# -- Python ------------------------------------------------------------------------------------------


def _script(name: str, *arguments: str) -> Start:
    def start(folder: Path, core: int, _receivers: int) -> Server:
        return Server([sys.executable, str(_SERVERS / name), *arguments], folder, core)

    return start


def _start_selchat(folder: Path, core: int, receivers: int) -> Server:
    command = [sys.executable, "-m", "selchat", "serve"]
    # As an operator would run it under load: no line on the terminal per message, and no list of who is
    # online sent to everyone as each of the receivers joins (the brokers have no such list).
    # Nor is anyone held back who says more than a person can, which no other contender does either.
    command += ["--quiet", "--no-roster", "--host=127.0.0.1", "--port=0", "--message-rate=0", "--byte-rate=0"]
    command += [f"--max-clients={max(10_000, receivers + 1)}"]
    return Server(command, folder, core)


def _start_floor(folder: Path, core: int, receivers: int) -> Server:
    wire = Classic()
    size = str(len(wire.publish(payload(0))))
    return _script("floor.py", size, wire.delivery(payload(0)).decode())(folder, core, receivers)


def _python_version() -> str:
    return f"CPython {platform.python_version()}"


def _library_version(name: str) -> Callable[[], str]:
    return lambda: f"{name} {importlib.metadata.version(name)}, {_python_version()}"


def _no_library(name: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"pip install {name}"


def _never_missing() -> None:
    return None


# -- brokers -----------------------------------------------------------------------------------------


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None, name
    return found


def _no_program(program: str, package: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(program, path=_PATH) else f"apt install {package}"


def _program_version(program: str, *arguments: str) -> Callable[[], str]:
    @functools.cache
    def version() -> str:
        output = subprocess.run([_program(program), *arguments], capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)+", output.stdout + output.stderr)
        return f"{program} {found[0] if found else '?'}"

    return version


def _start_nats(folder: Path, core: int, _receivers: int) -> Server:
    port = free_port()
    config = f"""
        listen: "127.0.0.1:{port}"
        # No client is cut off for being slow: both limits are far above what a window can fill.
        max_pending: 1073741824
        write_deadline: "60s"
        # No ping falls into a run. (The first comes 2 s after connecting, whatever is set; the load waits
        # for it.)
        ping_interval: "60m"
        max_connections: 65536
        # No logging but of errors is the default, and so is the pending size of 64 MiB that is raised above.
    """
    return _with_config(folder, core, port, config, "nats-server", "-c")


def _start_redis(folder: Path, core: int, receivers: int) -> Server:
    port = free_port()
    config = f"""
bind 127.0.0.1
port {port}
# Nothing on disk.
save ""
appendonly no
dir {folder}
# No subscriber is cut off for being slow; the default is 32 MiB, or 8 MiB for 60 s.
client-output-buffer-limit pubsub 0 0 0
maxclients {max(10_000, receivers + 64)}
# io-threads stays at its default of 1: there is one core for the server.
"""
    return _with_config(folder, core, port, config, "redis-server")


def _start_mosquitto(folder: Path, core: int, _receivers: int) -> Server:
    port = free_port()
    config = f"""
listener {port} 127.0.0.1
allow_anonymous true
# As root it would become the user mosquitto, who cannot read this folder.
user root
persistence false
log_dest none
# Nothing is dropped from a queue and nothing waits for an acknowledgement; clients use QoS 0.
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
# No Nagle delays, which every other server avoids too.
set_tcp_nodelay true
# No statistics published every 10 s.
sys_interval 0
"""
    return _with_config(folder, core, port, config, "mosquitto", "-c")


def _start_ngircd(folder: Path, core: int, _receivers: int) -> Server:
    port = free_port()
    config = f"""
[Global]
Name = irc.bench.example
Info = benchmark
AdminEMail = admin@bench.example
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = hello
# As root it would become the user nobody.
ServerUID = {os.getuid()}
ServerGID = {os.getgid()}
[Limits]
# No limit on clients, no penalty for many commands, no ping within a run.
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
# No look-ups while the receivers connect.
DNS = no
Ident = no
PAM = no
"""
    return _with_config(folder, core, port, config, "ngircd", "-n", "-f")


def _with_config(folder: Path, core: int, port: int, config: str, program: str, *options: str) -> Server:
    path = folder / "config"
    path.write_text(config)
    return Server([_program(program), *options, str(path)], folder, core, port)


CONTENDERS = (
    Contender(
        "floor",
        "floor (bare sends)",
        "floor",
        Classic,
        _start_floor,
        _python_version,
        _never_missing,
        parses=False,
    ),
    Contender(
        "selchat",
        "selchat",
        "selchat",
        Classic,
        _start_selchat,
        lambda: f"{importlib.metadata.version('selchat')}, {_python_version()}",
        _never_missing,
    ),
    Contender(
        "nats",
        "NATS",
        "broker",
        Nats,
        _start_nats,
        _program_version("nats-server", "--version"),
        _no_program("nats-server", "nats-server"),
    ),
    Contender(
        "redis",
        "Redis pub/sub",
        "broker",
        Redis,
        _start_redis,
        _program_version("redis-server", "--version"),
        _no_program("redis-server", "redis-server"),
    ),
    Contender(
        "ngircd",
        "ngIRCd",
        "broker",
        Irc,
        _start_ngircd,
        _program_version("ngircd", "--version"),
        _no_program("ngircd", "ngircd"),
    ),
    Contender(
        "mosquitto",
        "Mosquitto",
        "broker",
        Mqtt,
        _start_mosquitto,
        _program_version("mosquitto", "-h"),
        _no_program("mosquitto", "mosquitto"),
    ),
    Contender(
        "paper",
        "the paper's select server",
        "python",
        Classic,
        _script("paper_select.py"),
        _python_version,
        _never_missing,
        most_receivers=1000,  # FD_SETSIZE is 1024
    ),
    Contender(
        "asyncio",
        "asyncio",
        "python",
        Classic,
        _script("asyncio_broadcast.py"),
        _python_version,
        _never_missing,
    ),
    Contender(
        "uvloop",
        "asyncio on uvloop",
        "python",
        Classic,
        _script("asyncio_broadcast.py", "--uvloop"),
        _library_version("uvloop"),
        _no_library("uvloop"),
    ),
    Contender(
        "uvloop-batched",
        "uvloop, one write a read",
        "python",
        Classic,
        _script("asyncio_broadcast.py", "--uvloop", "--batch"),
        _library_version("uvloop"),
        _no_library("uvloop"),
    ),
    Contender(
        "websockets",
        "websockets.broadcast",
        "python",
        WebSocket,
        _script("websockets_broadcast.py"),
        _library_version("websockets"),
        _no_library("websockets"),
    ),
)

FLOOR = next(one for one in CONTENDERS if one.kind == "floor")

assert SENDER == "sender", "floor.py looks for it"
