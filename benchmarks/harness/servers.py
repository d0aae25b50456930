"""The servers that are compared, and their configuration. Each setting has its reason next to it.

Three rules apply to all: listen on 127.0.0.1 only, write nothing to disk, and have no limit on queues or
rates. So every server does all of the work, and no limit against abuse counts against it. Settings for speed
(batches, threads, buffers) stay as the authors ship them. All threads of a server share one core.
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

from harness.load import payload
from harness.processes import Server, free_port
from harness.wires import SENDER, Classic, Irc, Mqtt, Nats, Redis, WebSocket, Wire

_SERVERS = Path(__file__).parent.parent / "servers"
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

Start = Callable[[Path, int, int], Server]
"""``start(folder, core, receivers)``: the folder is empty and belongs to that server."""


@dataclass(frozen=True)
class ServerSpec:
    """One server. ``kind`` is its group in tables and charts: selchat, floor, broker or python."""

    key: str
    name: str
    kind: str
    wire: Callable[[], Wire]
    start: Start
    version: Callable[[], str]
    missing: Callable[[], str | None]
    max_receivers: int = 1 << 30
    relays_payload: bool = True  # False: its deliveries have only the right size


# -- Python ------------------------------------------------------------------------------------------


def _script(name: str, *arguments: str) -> Start:
    def start(folder: Path, core: int, _receivers: int) -> Server:
        return Server([sys.executable, str(_SERVERS / name), *arguments], folder, core)

    return start


def _start_selchat(folder: Path, core: int, receivers: int) -> Server:
    command = [sys.executable, "-m", "selchat", "serve"]
    # As an operator would run it under load: no terminal line for each message, and no list of online users
    # sent to all clients at each join (the brokers have no such list). No rate limits, as the other servers
    # have none.
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


def _missing_library(name: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"pip install {name}"


def _never_missing() -> None:
    return None


# -- brokers -----------------------------------------------------------------------------------------


def _program(name: str) -> str:
    found = shutil.which(name, path=SEARCH_PATH)
    assert found is not None, name
    return found


def _missing_program(program: str, package: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(program, path=SEARCH_PATH) else f"apt install {package}"


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
        # Never drop a slow client: both limits are far above the size of a window.
        max_pending: 1073741824
        write_deadline: "60s"
        # No pings during a run. (NATS always sends the first one 2 s after connecting; the load waits for
        # it.)
        ping_interval: "60m"
        max_connections: 65536
        # By default it logs only errors. The default of max_pending is 64 MiB.
    """
    return _with_config(folder, core, port, config, "nats-server", "-c")


def _start_redis(folder: Path, core: int, receivers: int) -> Server:
    port = free_port()
    config = f"""
bind 127.0.0.1
port {port}
# Write nothing to disk.
save ""
appendonly no
dir {folder}
# Never drop a slow subscriber. The default is 32 MiB, or 8 MiB for 60 s.
client-output-buffer-limit pubsub 0 0 0
maxclients {max(10_000, receivers + 64)}
# io-threads stays at its default of 1, because the server has one core.
"""
    return _with_config(folder, core, port, config, "redis-server")


def _start_mosquitto(folder: Path, core: int, _receivers: int) -> Server:
    port = free_port()
    config = f"""
listener {port} 127.0.0.1
allow_anonymous true
# Started by root, it would switch to the user mosquitto, which cannot read this folder.
user root
persistence false
log_dest none
# Drop nothing from a queue. The clients use QoS 0, so nothing waits for an acknowledgement.
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
# No Nagle delays, as in every other server.
set_tcp_nodelay true
# Do not publish statistics every 10 s.
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
# Started by root, it would switch to the user nobody.
ServerUID = {os.getuid()}
ServerGID = {os.getgid()}
[Limits]
# No limit on clients, no penalty for many commands, no ping during a run.
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
# No lookups while the receivers connect.
DNS = no
Ident = no
PAM = no
"""
    return _with_config(folder, core, port, config, "ngircd", "-n", "-f")


def _with_config(folder: Path, core: int, port: int, config: str, program: str, *options: str) -> Server:
    path = folder / "config"
    path.write_text(config)
    return Server([_program(program), *options, str(path)], folder, core, port)


SERVERS = (
    ServerSpec(
        "floor",
        "floor (bare sends)",
        "floor",
        Classic,
        _start_floor,
        _python_version,
        _never_missing,
        relays_payload=False,
    ),
    ServerSpec(
        "selchat",
        "selchat",
        "selchat",
        Classic,
        _start_selchat,
        lambda: f"{importlib.metadata.version('selchat')}, {_python_version()}",
        _never_missing,
    ),
    ServerSpec(
        "nats",
        "NATS",
        "broker",
        Nats,
        _start_nats,
        _program_version("nats-server", "--version"),
        _missing_program("nats-server", "nats-server"),
    ),
    ServerSpec(
        "redis",
        "Redis pub/sub",
        "broker",
        Redis,
        _start_redis,
        _program_version("redis-server", "--version"),
        _missing_program("redis-server", "redis-server"),
    ),
    ServerSpec(
        "ngircd",
        "ngIRCd",
        "broker",
        Irc,
        _start_ngircd,
        _program_version("ngircd", "--version"),
        _missing_program("ngircd", "ngircd"),
    ),
    ServerSpec(
        "mosquitto",
        "Mosquitto",
        "broker",
        Mqtt,
        _start_mosquitto,
        _program_version("mosquitto", "-h"),
        _missing_program("mosquitto", "mosquitto"),
    ),
    ServerSpec(
        "paper",
        "the paper's select server",
        "python",
        Classic,
        _script("paper_select.py"),
        _python_version,
        _never_missing,
        max_receivers=1000,  # FD_SETSIZE is 1024
    ),
    ServerSpec(
        "asyncio",
        "asyncio",
        "python",
        Classic,
        _script("asyncio_broadcast.py"),
        _python_version,
        _never_missing,
    ),
    ServerSpec(
        "uvloop",
        "asyncio on uvloop",
        "python",
        Classic,
        _script("asyncio_broadcast.py", "--uvloop"),
        _library_version("uvloop"),
        _missing_library("uvloop"),
    ),
    ServerSpec(
        "uvloop-batched",
        "uvloop, one write a read",
        "python",
        Classic,
        _script("asyncio_broadcast.py", "--uvloop", "--batch"),
        _library_version("uvloop"),
        _missing_library("uvloop"),
    ),
    ServerSpec(
        "websockets",
        "websockets.broadcast",
        "python",
        WebSocket,
        _script("websockets_broadcast.py"),
        _library_version("websockets"),
        _missing_library("websockets"),
    ),
)

FLOOR = next(server for server in SERVERS if server.kind == "floor")

assert SENDER == "sender", "floor.py recognizes the sender by it"
