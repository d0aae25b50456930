from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.support import Running


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Build servers with the given settings; close them after the test."""
    made: list[Running] = []

    def build(**options: Any) -> Running:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(Running(folder, **options))
        return made[-1]

    yield build
    for running in made:
        running.close()
