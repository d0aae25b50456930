"""Run the fuzz targets without a fuzzer: on the corpus, and on inputs of hypothesis."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.run import CORPUS
from tests.fuzz.targets import TARGETS

_INPUTS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]
_TOKENS = [
    b'{"',
    b'":"',
    b'"}',
    b"type",
    b"hello",
    b"say",
    b"said",
    b"12        ",
    b"\xff",
    b"\\ud800",
    b"\x16",
    b"GET / HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"\x81\x81abcd\x00",
    b"\x01\x80abcd",
    b"\x89\x80abcd",
    b"\x88\x80abcd",
]


def test_every_target_has_a_corpus() -> None:
    assert {name for name, _ in _INPUTS} == set(TARGETS) == {folder.name for folder in CORPUS.iterdir()}


@pytest.mark.parametrize(("name", "path"), _INPUTS, ids=lambda value: getattr(value, "name", value))
def test_corpus_input_passes(name: str, path: object) -> None:
    TARGETS[name](path.read_bytes())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TARGETS)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(_TOKENS) | st.binary(max_size=8)).map(b"".join))
def test_generated_bytes_pass(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_driver_runs_a_target_or_says_that_atheris_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--runs=200", "detect"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "detect: 200 runs" in done.stdout or "fuzzing is skipped" in done.stdout


def test_failing_input_fails_the_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("atheris")
    script = (
        "import sys, atheris, tests.fuzz.run as run, tests.fuzz.targets as targets\n"
        "def fail(data):\n    raise ValueError\n"
        "targets.TARGETS['detect'] = fail\n"
        "from pathlib import Path\n"
        "sys.argv = ['x']\n"
        "run.fuzz('detect', 100, Path(sys.argv[0] + '-kept'))\n"
    )
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x-kept").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(CORPUS.parents[2])},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
