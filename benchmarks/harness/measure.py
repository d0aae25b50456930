"""One server, some kinds of work: start it, gather the audience, run, end it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.audience import Audience, LoadError, Run
from harness.contenders import Contender
from harness.processes import ServerFailedError, cores, pinned

_WARM_UP_WINDOW = 32
_WARM_UP_SECONDS = 0.05


class MeasureError(Exception):
    """A server could not be measured; the text says why."""


def measure(
    contender: Contender,
    receivers: int,
    windows: Sequence[int],
    seconds: float,
    took: Callable[[int, Run], object],
) -> None:
    """Start the server, have so many receivers join, and give ``took(window, run)`` a run of each window."""
    server_core, load_core = cores()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="selchat-bench-") as folder,
            contender.start(Path(folder), server_core, receivers) as server,
            pinned(load_core),
            Audience(contender.wire(), server.port, receivers, sampled=contender.parses) as audience,
        ):
            audience.settle(server.wait_idle)
            audience.run(min(_WARM_UP_WINDOW, max(windows)), _WARM_UP_SECONDS, server.cpu_seconds)
            for window in windows:
                took(window, audience.run(window, seconds, server.cpu_seconds))
    except (LoadError, ServerFailedError, OSError) as error:
        raise MeasureError(str(error) or type(error).__name__) from error
