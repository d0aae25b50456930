"""Files and links in the documents exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *ROOT.glob("*.rst"),
    *ROOT.glob("docs/*.rst"),
    ROOT / "benchmarks/README.rst",
    ROOT / "web/README.rst",
]
FOLDERS = ["", "selchat", "tests", "web"]  # in which a document's path may begin


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_file_and_every_link_exists(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"``((?:[\w.-]+/)+[\w-]+\.(?:py|rst|ts|json|cfg))", text))
    roots = [document.parent, *(ROOT / folder for folder in FOLDERS)]
    missing = {name for name in named if not any((root / name).exists() for root in roots)}
    linked = set(re.findall(r"<([\w./-]+\.rst)>`_|image:: (\S+)", text))
    missing |= {link or image for link, image in linked if not (document.parent / (link or image)).exists()}
    assert not missing


def test_contributing_lists_every_module_and_package() -> None:
    contributing = (ROOT / "CONTRIBUTING.rst").read_text()
    for path in (ROOT / "selchat").iterdir():
        if path.is_dir() and not path.name.startswith("_"):
            assert f"``selchat/{path.name}/``" in contributing
        elif path.suffix == ".py" and not path.name.startswith("_"):
            assert f"``{path.name}``" in contributing
