"""Some servers, some kinds of work: start them, gather an audience for each, take turns, end them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.audience import Audience, LoadError, Run
from harness.contenders import Contender
from harness.processes import Server, ServerFailedError, cores, pinned

SLICES = 4  # turns into which the seconds of one measurement are cut
_WARM_UP_WINDOW = 32
_WARM_UP_SECONDS = 0.05


class MeasureError(Exception):
    """A server could not be measured; the text says why."""


def measure(
    contenders: Sequence[Contender],
    receivers: int,
    windows: Sequence[int],
    seconds: float,
    took: Callable[[int, Sequence[Run]], object],
) -> None:
    """Start the servers, have so many receivers join each, and give ``took(window, runs)`` a run of each.

    For every window they take turns, `SLICES` times, for ``seconds`` in all each; the others sleep
    meanwhile. What the machine gives a process changes within seconds, so only neighbours are compared.
    """
    server_core, load_core = cores()
    try:
        with contextlib.ExitStack() as stack:
            pairs: list[tuple[Audience, Server]] = []
            for contender in contenders:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="selchat-bench-"))
                server = stack.enter_context(contender.start(Path(folder), server_core, receivers))
                with pinned(load_core):
                    audience = Audience(contender.wire(), server.port, receivers, sampled=contender.parses)
                pairs.append((stack.enter_context(audience), server))
            stack.enter_context(pinned(load_core))
            for audience, server in pairs:
                audience.settle(server.wait_idle)
                audience.run(min(_WARM_UP_WINDOW, max(windows)), _WARM_UP_SECONDS, server.cpu_seconds)
            for window in windows:
                for _ in range(SLICES):
                    took(
                        window,
                        [
                            audience.run(window, seconds / SLICES, server.cpu_seconds)
                            for audience, server in pairs
                        ],
                    )
    except (LoadError, ServerFailedError, OSError) as error:
        raise MeasureError(str(error) or type(error).__name__) from error
