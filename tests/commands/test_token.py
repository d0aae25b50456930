"""``selchat token``: its output, its explanations and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from selchat import cli
from selchat.auth.tokens import ANY_ROOM, TokenFile


def test_standard_output_has_the_token_and_standard_error_the_explanation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["token", "ci"]) == 0
    out, err = capsys.readouterr()
    found = TokenFile().find(out.rstrip("\n"))
    assert found is not None
    assert (found.name, found.room) == ("ci", ANY_ROOM)
    assert "any room as ci" in err
    assert out.strip() not in err
    assert out.strip() not in TokenFile().path.read_text()


def test_list_and_revoke(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "--list"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "There are no tokens. To make one, run: selchat token NAME\n")
    cli.main(["token", "ci"])
    cli.main(["token", "--room=#builds", "Build bot"])
    cli.main(["token", "CI"])
    capsys.readouterr()
    assert cli.main(["token", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line[12:] for line in out.splitlines()] == [
        "ci  (any room)",
        "Build bot  (#builds)",
        "CI  (any room)",
    ]
    assert cli.main(["token", "--revoke=ci"]) == 0
    assert capsys.readouterr().err == "Revoked: 2 tokens of ci.\n"
    assert [token.name for token in TokenFile().tokens()] == ["Build bot"]
    assert cli.main(["token", "--revoke=ci"]) == 1
    assert "there is no token for ci" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *(["token"], ["token", ""], ["token", "Server"], ["token", "a\tb"], ["token", "x" * 33]),
        *(["token", "p\u0430ypal"], ["token", "ci", "--room=a b"], ["token", "ci", "--room=@x"]),
        *(["token", "ci", "--room="], ["token", "--list", "ci"], ["token", "--list", "--revoke=ci"]),
    ],
)
def test_invalid_arguments_make_no_file(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert not TokenFile().path.exists()


def test_a_broken_file_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    path: Path = TokenFile().path
    path.parent.mkdir(parents=True)
    path.write_text("ci\n")
    for words in (["ci"], ["--list"], ["--revoke=ci"]):
        assert cli.main(["token", *words]) == 1
        assert capsys.readouterr() == (
            "",
            f"selchat: {path}:1: not a token; expected sha256:HASH, a day, a room and a name\n",
        )


def test_the_help_mentions_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "selchat token NAME" in capsys.readouterr().out
    assert cli.main(["token", "--help"]) == 0
    assert "--revoke=NAME" in capsys.readouterr().out
