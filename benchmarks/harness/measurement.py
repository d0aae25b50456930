"""Measurement: start servers, connect a load to each, and measure them alternately."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.load import FanoutLoad, LoadError, Run
from harness.processes import Server, ServerFailedError, cores, pinned
from harness.servers import ServerSpec

SLICES = 4  # parts of one measurement, between which the servers alternate
_WARM_UP_WINDOW = 32
_WARM_UP_SECONDS = 0.05


class MeasureError(Exception):
    """A server could not be measured. The text is the reason."""


def measure(
    specs: Sequence[ServerSpec],
    receivers: int,
    windows: Sequence[int],
    seconds: float,
    on_runs: Callable[[int, Sequence[Run]], object],
) -> None:
    """Start the servers with their receivers, and call ``on_runs(window, runs)`` with a run of each.

    For every window the servers alternate `SLICES` times, each for ``seconds`` in all, while the others
    sleep. The speed of the machine changes within seconds, so only adjacent runs are compared.
    """
    server_core, load_core = cores()
    try:
        with contextlib.ExitStack() as stack:
            pairs: list[tuple[FanoutLoad, Server]] = []
            for spec in specs:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="selchat-bench-"))
                server = stack.enter_context(spec.start(Path(folder), server_core, receivers))
                with pinned(load_core):
                    load = FanoutLoad(spec.wire(), server.port, receivers, sampled=spec.relays_payload)
                pairs.append((stack.enter_context(load), server))
            stack.enter_context(pinned(load_core))
            for load, server in pairs:
                load.settle(server.wait_idle)
                load.run(min(_WARM_UP_WINDOW, max(windows)), _WARM_UP_SECONDS, server.cpu_seconds)
            for window in windows:
                for _ in range(SLICES):
                    on_runs(
                        window,
                        [load.run(window, seconds / SLICES, server.cpu_seconds) for load, server in pairs],
                    )
    except (LoadError, ServerFailedError, OSError) as error:
        raise MeasureError(str(error) or type(error).__name__) from error
