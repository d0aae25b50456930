"""Matching of responses and refusals to pending requests."""

from __future__ import annotations

import pytest

from selchat.client.bot.requests import (
    PendingRequest,
    PendingRequests,
    RefusedError,
    refusal_error,
)
from selchat.client.events import Acked, History, Refused, Users
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError

NO_SUCH_NAME = RefusedError("no-such-name", "no user has that name")


def users(room: str, *, joined: bool = False) -> Users:
    return Users(room, ("Venkat",), 1, "", 0, joined)


def add(requests: PendingRequests, request: PendingRequest[object]) -> PendingRequest[object]:
    requests.add(request)
    return request


def test_a_response_goes_to_the_oldest_request_that_it_matches() -> None:
    requests = PendingRequests()
    history = add(requests, PendingRequest(History, "lobby"))
    join = add(requests, PendingRequest(Users, "Games", matches=lambda users: users.joined))
    first = add(requests, PendingRequest(Users, "games", matches=lambda users: not users.joined))
    second = add(requests, PendingRequest(Users, "games", matches=lambda users: not users.joined))
    responses = [users("games"), users("games", joined=True), users("games")]
    assert all(requests.resolve(response) for response in responses)
    assert (first.response, join.response, second.response) == (responses[0], responses[1], responses[2])
    assert history.is_open
    assert len(requests) == 1
    assert not requests.resolve(users("games"))
    assert not requests.resolve(users("lobby"))


def test_a_message_is_matched_by_its_id() -> None:
    requests = PendingRequests()
    second, first = (
        add(requests, PendingRequest(Acked, None, id="x-2")),
        add(requests, PendingRequest(Acked, None, id="x-1")),
    )
    assert requests.resolve(Acked("x-1", "lobby", "", 7, 0.0))
    assert not requests.resolve(Acked("x-3", "lobby", "", 8, 0.0))
    assert first.response is not None
    assert second.is_open
    assert requests.reject(Refused("no-such-name", "", "x-2", "", "Nobody", "hey"), NO_SUCH_NAME)
    assert second.error is NO_SUCH_NAME


@pytest.mark.parametrize(
    ("refused", "matches"),
    [
        (Refused("bad-room", "", "", "games"), True),
        (Refused("bad-room", "", "", "GAMES"), True),
        (Refused("unknown-type", ""), True),  # names no room and no message: matches the oldest
        (Refused("bad-room", "", "", "lobby"), False),
        (Refused("not-in-room", "", "x-1", "games"), False),
        (Refused("no-such-name", "", "", "", "Nobody"), False),
    ],
)
def test_a_refusal_goes_to_the_request_that_it_names(refused: Refused, matches: bool) -> None:
    requests = PendingRequests()
    request = add(requests, PendingRequest(Users, "games"))
    assert requests.reject(refused, NO_SUCH_NAME) == matches
    assert request.error is (NO_SUCH_NAME if matches else None)
    assert request.is_open != matches


def test_a_late_response_to_an_abandoned_request_does_not_go_to_the_next() -> None:
    requests = PendingRequests()
    for _ in range(150):  # more than the limit
        requests.abandon(add(requests, PendingRequest(History, "lobby")))
    assert len(requests) == 100
    later = add(requests, PendingRequest(History, "lobby"))
    for _ in range(100):
        assert requests.resolve(History("lobby", (), more=False))
        assert later.is_open
    assert requests.resolve(History("lobby", (), more=True))
    assert later.response == History("lobby", (), more=True)


def test_resend_sends_open_requests_and_not_abandoned_ones() -> None:
    requests, sent = PendingRequests(), []

    def fail() -> None:
        raise NO_SUCH_NAME

    for name in ("one", "abandoned", "two"):
        request = add(requests, PendingRequest(Users, name))
        request.send = lambda name=name: sent.append(name)
        if name == "abandoned":
            requests.abandon(request)
    failing, message = (
        add(requests, PendingRequest(Users, "three")),
        add(requests, PendingRequest(Acked, None, id="x-1")),
    )
    failing.send = fail
    requests.resend()
    assert sent == ["one", "two"]
    assert failing.error is NO_SUCH_NAME
    assert message.is_open
    assert len(requests) == 3


def test_each_refusal_code_has_its_exception() -> None:
    errors: list[RefusalError] = [
        refusal_error(Refused("name-taken", "whatever"), "echo"),
        refusal_error(Refused("banned", str(BannedError("Friday"))), "echo"),
        refusal_error(Refused("banned", "go away"), "echo"),
        refusal_error(Refused("muted", "be quiet"), "echo"),
    ]
    assert [type(error) for error in errors] == [NameTakenError, BannedError, BannedError, RefusedError]
    assert [error.code for error in errors] == ["name-taken", "banned", "banned", "muted"]
    assert str(errors[0]) == "the name echo is taken"
    assert str(errors[1]) == "the operator has banned you until Friday"
    assert str(errors[3]) == "be quiet"
    assert all(isinstance(error, SelchatError) for error in errors)
