from __future__ import annotations

import pytest

from selchat.client.bot.questions import Question, Questions, RefusedError, refusal_error
from selchat.client.events import Acked, History, Refused, Users
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError

NOBODY = RefusedError("no-such-name", "nobody is called that")


def users(room: str, *, entered: bool = False) -> Users:
    return Users(room, ("Venkat",), 1, "", 0, entered)


def ask(questions: Questions, question: Question[object]) -> Question[object]:
    questions.add(question)
    return question


def test_an_answer_goes_to_the_oldest_question_that_it_fits() -> None:
    questions = Questions()
    history = ask(questions, Question(History, "lobby"))
    entering = ask(questions, Question(Users, "Games", fits=lambda users: users.entered))
    first = ask(questions, Question(Users, "games", fits=lambda users: not users.entered))
    second = ask(questions, Question(Users, "games", fits=lambda users: not users.entered))
    answers = [users("games"), users("games", entered=True), users("games")]
    assert all(questions.take(answer) for answer in answers)
    assert (first.answer, entering.answer, second.answer) == (answers[0], answers[1], answers[2])
    assert history.is_open
    assert len(questions) == 1
    assert not questions.take(users("games"))
    assert not questions.take(users("lobby"))


def test_what_was_said_is_known_by_its_id() -> None:
    questions = Questions()
    said, other = (
        ask(questions, Question(Acked, None, id="x-2")),
        ask(questions, Question(Acked, None, id="x-1")),
    )
    assert questions.take(Acked("x-1", "lobby", "", 7, 0.0))
    assert not questions.take(Acked("x-3", "lobby", "", 8, 0.0))
    assert other.answer is not None
    assert said.is_open
    assert questions.take_refusal(Refused("no-such-name", "", "x-2", "", "Nobody", "hey"), NOBODY)
    assert said.error is NOBODY


@pytest.mark.parametrize(
    ("refused", "takes"),
    [
        (Refused("bad-room", "", "", "games"), True),
        (Refused("bad-room", "", "", "GAMES"), True),
        (Refused("unknown-type", ""), True),  # it does not say what it is about: then it is what came first
        (Refused("bad-room", "", "", "lobby"), False),
        (Refused("not-in-room", "", "x-1", "games"), False),
        (Refused("no-such-name", "", "", "", "Nobody"), False),
    ],
)
def test_whose_refusal_it_is(refused: Refused, takes: bool) -> None:
    questions = Questions()
    question = ask(questions, Question(Users, "games"))
    assert questions.take_refusal(refused, NOBODY) == takes
    assert question.error is (NOBODY if takes else None)
    assert question.is_open != takes


def test_the_answer_to_a_question_that_was_abandoned_is_not_that_to_the_next() -> None:
    questions = Questions()
    for _ in range(150):  # more than are remembered
        questions.abandon(ask(questions, Question(History, "lobby")))
    assert len(questions) == 100
    later = ask(questions, Question(History, "lobby"))
    for _ in range(100):
        assert questions.take(History("lobby", (), more=False))
        assert later.is_open
    assert questions.take(History("lobby", (), more=True))
    assert later.answer == History("lobby", (), more=True)


def test_open_questions_are_asked_again_and_abandoned_ones_are_not() -> None:
    questions, asked = Questions(), []

    def fail() -> None:
        raise NOBODY

    for name in ("one", "abandoned", "two"):
        question = ask(questions, Question(Users, name))
        question.ask = lambda name=name: asked.append(name)
        if name == "abandoned":
            questions.abandon(question)
    failing, waiting = (
        ask(questions, Question(Users, "three")),
        ask(questions, Question(Acked, None, id="x-1")),
    )
    failing.ask = fail
    questions.ask_again()
    assert asked == ["one", "two"]
    assert failing.error is NOBODY
    assert waiting.is_open
    assert len(questions) == 3


def test_refusals_are_errors_of_the_tree() -> None:
    errors: list[RefusalError] = [
        refusal_error(Refused("name-taken", "whatever"), "echo"),
        refusal_error(Refused("banned", str(BannedError("Friday"))), "echo"),
        refusal_error(Refused("banned", "go away"), "echo"),
        refusal_error(Refused("muted", "be quiet"), "echo"),
    ]
    assert [type(error) for error in errors] == [NameTakenError, BannedError, BannedError, RefusedError]
    assert [error.code for error in errors] == ["name-taken", "banned", "banned", "muted"]
    assert str(errors[0]) == "the name echo is someone else's"
    assert str(errors[1]) == "the operator has banned you until Friday"
    assert str(errors[3]) == "be quiet"
    assert all(isinstance(error, SelchatError) for error in errors)
