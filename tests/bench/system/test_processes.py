"""Processes that do not start, or do not exist."""

from __future__ import annotations

import pytest

from selchat.bench.errors import BenchError
from selchat.bench.system.proc import process_usage
from selchat.bench.system.processes import Server


def test_server_that_does_not_start_is_an_error() -> None:
    with pytest.raises(BenchError, match="did not start: selchat: unknown option --nonsense"):
        Server(["--nonsense"], frozenset())


def test_usage_of_a_missing_process_is_an_error() -> None:
    with pytest.raises(BenchError, match="cannot measure process"):
        process_usage(2**22 + 1)
