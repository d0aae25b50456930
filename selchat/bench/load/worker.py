"""Worker process of the load generator: runs the commands of its parent.

Each command is a line of JSON on standard input, and its answer a line on standard output. During a long
command, lines with ``progress`` precede the answer. The worker ends at the end of its input, so that it
cannot outlive its parent, however that dies.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from selchat.bench.load.churn import Churn
from selchat.bench.load.client import ServerUnavailableError
from selchat.bench.load.control import ControlChannel
from selchat.bench.load.generator import LoadGenerator
from selchat.bench.load.job import Job
from selchat.bench.load.joining import Joining
from selchat.bench.load.loops import Loops
from selchat.bench.system.proc import raise_descriptor_limit
from selchat.bench.verify.stream import BrokenFramingError


class Worker:
    """Runs commands. ``control``: the descriptors of its input and its output."""

    def __init__(self, job: Job, control: tuple[int, int] = (0, 1)) -> None:
        self._control = ControlChannel(*control)
        self._generator = generator = LoadGenerator(job, self._control)
        joining, loops = Joining(generator), Loops(generator)
        self._commands: dict[str, Callable[..., dict[str, Any]]] = {
            "join": joining.join,
            "expect-markers": joining.expect_markers,
            "send-markers": joining.send_markers,
            "start-checking": joining.start_checking,
            "closed": loops.closed,
            "rooms": loops.rooms,
            "paced": loops.paced,
            "idle": loops.idle,
            "churn": Churn(generator).run,
            "stall": generator.stalled.join,
            "count-stalled": generator.stalled.count_joined,
            "unstall": generator.stalled.leave,
        }

    @property
    def ended(self) -> bool:
        """Whether the parent or another worker is gone."""
        return self._generator.ended

    def run(self) -> None:
        """Run commands until the input ends. An error between two commands is the answer to the next one."""
        control = self._control
        failure = ""
        while not self.ended:
            if not control.commands:
                try:
                    self._generator.connections.poll(None)
                except (ServerUnavailableError, BrokenFramingError) as error:
                    failure = failure or str(error)
                continue
            command = control.commands.popleft()
            control.stopping = False
            run = self._commands[command.pop("command")]
            try:
                answer = {"error": failure} if failure else run(**command)
            except (ServerUnavailableError, BrokenFramingError) as error:
                answer = {"error": str(error)}
            control.write({"answer": answer})

    def close(self) -> None:
        """Close every descriptor except the control channel's."""
        self._generator.close()


def main() -> None:
    """Run a worker; its job is the only argument, as JSON."""
    fields = json.loads(sys.argv[1])
    raise_descriptor_limit()
    lists = {name: tuple(fields[name]) for name in ("address", "links", "rooms") if name in fields}
    job = Job(**{**fields, **lists})
    worker = Worker(job)
    try:
        worker.run()
    finally:
        worker.close()


if __name__ == "__main__":
    main()
