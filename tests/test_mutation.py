"""docs/mutants.rst speaks of the files that are mutated, of functions that they have, and counts right."""

from __future__ import annotations

import re

import pytest

from tests.mutation import ROOT, WANTED, chosen_files

DOCUMENT = (ROOT / "docs/mutants.rst").read_text("utf-8")
ROW = re.compile(r"^(selchat/\S+\.py) +(\d+) +(\d+) +(\d+) +([\d.]+) %$", re.MULTILINE)
SURVIVORS = re.compile(r"^``(selchat/\S+\.py)``\n-+\n(.*?)(?=^``selchat|\Z)", re.MULTILINE | re.DOTALL)
SURVIVOR = re.compile(r"^- ``([\w.]+)``(?: \((\d+)\))?: ", re.MULTILINE)


def test_every_mutated_file_has_its_figures() -> None:
    assert [row[0] for row in ROW.findall(DOCUMENT)] == chosen_files()


@pytest.mark.parametrize("row", ROW.findall(DOCUMENT), ids=lambda row: row[0])
def test_figures_of_a_file_add_up_and_match_its_survivors(row: tuple[str, ...]) -> None:
    file, (mutants, killed, survived) = row[0], map(int, row[1:4])
    assert killed + survived == mutants
    assert row[4] == f"{killed / mutants:.1%}".rstrip("%")
    assert killed / mutants >= WANTED
    listed = SURVIVOR.findall(dict(SURVIVORS.findall(DOCUMENT)).get(file, ""))
    assert sum(int(count or 1) for _, count in listed) == survived
    code = (ROOT / file).read_text("utf-8")
    for name, _ in listed:
        *owner, function = name.split(".")
        assert f"def {function}(" in code
        assert all(f"class {one}" in code for one in owner)
