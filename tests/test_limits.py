"""Every limit is a setting or a constant of `selchat.limits`, with its unit."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SELCHAT = Path(__file__).parents[1] / "selchat"
PACKAGES = ["auth", "chat", "client", "commands", "config", "log", "net", "server", "sessions", "wire"]
MODULES = [*SELCHAT.glob("*.py"), *(path for name in PACKAGES for path in (SELCHAT / name).rglob("*.py"))]
LIMIT = re.compile(r"(^|_)(MAX|MIN|LIMIT|SECONDS|PAUSE|INTERVAL|TIMEOUT|RATE|BURST|BATCH|PAGES|CACHE)(_|$)")
# Constants with such a name that are no limit.
FORMATS = {
    ("wire/requests.py", "MAX_NUMBER"),  # of a JSON number
    ("wire/e2ee.py", "MAX_COUNTER"),  # of a JSON number
    ("client/protocol/fields.py", "_MAX_INT"),  # of a JSON number
    ("config/units.py", "_SECONDS"),  # of each unit
    ("wire/strict_json.py", "_MAX_TOKENS"),  # follows from MAX_VALUES
    ("sessions/detect.py", "_MIN_SELCHAT_HEADER"),  # follows from the size of an error
    ("sessions/http/session.py", "_MAX_HOST"),  # of the DNS
}


def constants(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the constants of a module that have a number or an expression as value, with their lines."""
    for node in ast.parse(path.read_text("utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id.isupper() and not isinstance(value, ast.Call):
            yield target.id, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SELCHAT)))
def test_limits_stand_in_one_place(path: Path) -> None:
    name = str(path.relative_to(SELCHAT))
    if name in {"limits.py", "config/settings.py"}:
        return
    found = {constant for constant, _ in constants(path) if LIMIT.search(constant.lstrip("_"))}
    assert found <= {constant for module, constant in FORMATS if module == name}


def test_every_limit_has_a_unit() -> None:
    units = (
        "bytes|characters|seconds|messages|names|rooms|ids|tokens|failures|passwords|mistakes|headers|JSON"
    )
    units += "|arrays|commas|frames|chunks|records|timers|buffers|addresses|sessions|fields|words|pages|rows"
    units += "|ranges|requests|N \\*"
    lines = (SELCHAT / "limits.py").read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_, ]+ = ", line) and not re.match("[KM]IB", line):
            above = number
            while lines[above - 1].startswith(("#", "EXPIRE_")):
                above -= 1
            text = " ".join([*lines[above:number], line.partition("#")[2]])
            assert re.search(rf"(?i)\b({units})", text), line
