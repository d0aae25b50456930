"""The message API with a hub and no socket: its responses, and the messages that members get."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.auth.tokens import ANY_ROOM, Token, TokenFile, TokenFileError, new_token
from selchat.chat.commands import Commands
from selchat.config.settings import Settings
from selchat.errors import RefusalError
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from selchat.sessions.http.api import ApiMember, ApiResponse, MessageApi, error_response
from tests.sessions.test_selchat import Client, FakeServer, hello

JSON = {"content-type": "application/json"}


class Tokens(TokenFile):
    """Tokens without a file."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent/tokens"))
        self.known: dict[str, Token] = {}
        self.broken: TokenFileError | None = None

    def make(self, name: str, room: str = ANY_ROOM) -> str:
        secret, self.known[secret] = new_token(name, room)
        return secret

    def find(self, secret: str) -> Token | None:
        if self.broken is not None:
            raise self.broken
        return self.known.get(secret)


class Office:
    """A server to which scripts post."""

    def __init__(self, log: Any = None, tokens: Tokens | None = None, **settings: object) -> None:
        self.server = FakeServer(log, **settings)
        self.tokens = tokens or Tokens()
        self.warnings: list[str] = []
        self.api = MessageApi(
            self.server.settings,
            self.server.hub,
            self.server.clock,
            self.server.context.selchat,
            self.tokens,
            self.warnings.append,
        )
        self.commands = Commands(self.server.hub, lambda: None)

    def post(
        self,
        token: str,
        body: bytes | str,
        room: str = "lobby",
        headers: Mapping[str, str] = {},
        **query: str,
    ) -> list[ApiResponse]:
        """Post, and return where the answer will be."""
        answers: list[ApiResponse] = []
        if token:
            headers = {"authorization": f"Bearer {token}", **headers}
        data = body.encode() if isinstance(body, str) else body
        try:
            posting = self.api.begin(room, headers, tuple(query.values()), "127.0.0.1:54494")
        except RefusalError as error:
            answers.append(error_response(error))
        else:
            self.api.finish(posting, data, answers.append)
        return answers

    def answer(self, *words: Any, **more: Any) -> ApiResponse:
        """Post, end the tick, and return the answer."""
        answers = self.post(*words, **more)
        self.server.tick()
        [answer] = answers
        return answer

    def said(self) -> list[tuple[str, str, str]]:
        return [(one.room, one.author, one.body) for one in self.server.log.committed]


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def ci(office: Office) -> str:
    return office.tokens.make("ci")


# -- messages --------------------------------------------------------------------------------------------


def test_response_is_sent_after_the_log_has_the_message(office: Office, ci: str) -> None:
    answers = office.post(ci, '{"body":"The build is green","id":"7"}', headers=JSON)
    assert answers == []
    office.server.tick()
    [answer] = answers
    assert answer.status == 201
    assert answer.document | {"at": 0} == {"room": "lobby", "seq": 1, "at": 0, "id": "7", "from": "ci"}
    assert json.loads(answer.body) == answer.document
    assert office.said() == [("lobby", "ci", "The build is green")]
    assert office.server.observer.seen == [("said", "ci", "The build is green")], "and no one has logged in"


def test_members_get_the_message_and_the_api_member_is_in_no_roster(office: Office, ci: str) -> None:
    venkat = Client(office.server)
    venkat.send(hello("Venkat"))
    venkat.read()
    office.answer(ci, "The build is green", id="7")
    [said] = venkat.read()
    assert (said["type"], said["from"], said["body"]) == ("said", "ci", "The build is green")
    assert [member.name for member in office.server.hub.members()] == ["Venkat"]
    assert list(office.server.hub.lobby.members) == ["venkat"]


def test_requests_without_an_id_are_separate_messages(office: Office, ci: str) -> None:
    one, other = office.answer(ci, "a"), office.answer(ci, "a")
    assert (one.status, other.status) == (201, 201)
    assert one.document["id"] != other.document["id"]
    assert len(office.said()) == 2


def test_post_creates_the_room_and_keeps_its_first_spelling(office: Office, ci: str) -> None:
    assert office.answer(ci, "a", "Builds").document["room"] == "Builds"
    answer = office.answer(ci, "b", "#builds")
    assert (answer.document["room"], answer.document["seq"]) == ("Builds", 2)


# -- exactly once ----------------------------------------------------------------------------------------


def test_repeated_id_gets_the_same_response(office: Office, ci: str) -> None:
    first = office.answer(ci, "a", id="7")
    again = office.answer(ci, "a", headers={"idempotency-key": '"7"'})
    assert (first.status, again.status) == (201, 200)
    assert first.document == again.document
    assert len(office.said()) == 1


def test_repeated_id_in_one_tick_or_with_another_token_is_one_message(office: Office, ci: str) -> None:
    more = office.tokens.make("CI")
    answers = [office.post(token, "a", id="7") for token in (ci, more, ci)]
    office.server.tick()
    assert [answer.status for [answer] in answers] == [201, 200, 200]
    assert len({answer.document["seq"] for [answer] in answers}) == 1
    assert len(office.said()) == 1


def test_different_names_may_use_the_same_id(office: Office, ci: str) -> None:
    authenticator = office.tokens.make("authenticator")
    assert [office.answer(token, "a", id="7").status for token in (ci, authenticator)] == [201, 201]


@given(
    st.lists(st.tuples(st.sampled_from(["post", "tick", "restart", "quiet"]), st.integers(0, 3)), max_size=25)
)
def test_each_id_is_stored_once_in_any_sequence_of_requests(steps: list[tuple[str, int]]) -> None:
    office = Office()
    ci = office.tokens.make("ci")
    waiting: list[tuple[int, list[ApiResponse]]] = []
    seqs: dict[int, object] = {}
    for step, number in [*steps, ("tick", 0)]:
        if step == "post":
            waiting.append((number, office.post(ci, f"body {number}", id=f"id {number}")))
            continue
        office.server.tick(100.0 if step == "quiet" else 0.0)
        for posted, [answer] in waiting:
            assert answer.status == (201 if posted not in seqs else 200)
            assert seqs.setdefault(posted, answer.document["seq"]) == answer.document["seq"]
        waiting.clear()
        if step == "restart":
            office = Office(office.server.log, office.tokens)
    bodies = [body for _, _, body in office.said()]
    assert sorted(bodies) == sorted(f"body {number}" for number in seqs)


def test_sqlite_log_detects_repeated_ids_after_a_restart(tmp_path: Path) -> None:
    tokens = Tokens()
    ci = tokens.make("ci")
    answers = []
    for _ in range(2):
        with closing(SqliteLog(tmp_path / "history.sqlite", Retention())) as log:
            office = Office(log, tokens)
            office.server.observer.log = None
            answers.append(office.answer(ci, "a", id="7"))
            assert log.last_seq("lobby") == 1
    assert [answer.status for answer in answers] == [201, 200]
    assert answers[0].document == answers[1].document


# -- who may ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic Y2k6Y2k=", "selchat_x"])
def test_request_without_a_valid_token_is_rejected(office: Office, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = office.answer("", "a", headers=headers)
    assert (answer.status, answer.document["error"]) == (401, "bad-token")
    assert answer.headers == (("WWW-Authenticate", 'Bearer realm="selchat"'),)
    assert office.said() == []


def test_revoked_token_is_rejected(office: Office, ci: str) -> None:
    assert office.answer(ci, "a", headers={"authorization": f"bearer  {ci}"}).status == 201
    del office.tokens.known[ci]
    answer = office.answer(ci, "a")
    assert answer.status == 401
    assert answer.headers == (("WWW-Authenticate", 'Bearer realm="selchat", error="invalid_token"'),)


def test_token_for_one_room_is_rejected_in_others(office: Office) -> None:
    token = office.tokens.make("ci", "builds")
    assert office.answer(token, "a", "#Builds").status == 201
    answer = office.answer(token, "a")
    assert (answer.status, answer.document["error"]) == (403, "other-room")


def test_token_cannot_use_the_name_of_a_user_or_a_confusable_one(office: Office) -> None:
    michael = Client(office.server)
    michael.send(hello("Michael"))
    for name in ("Michael", "MICHAEL", "\u216fichael", "Michae1"):
        answer = office.answer(office.tokens.make(name), "a")
        assert (answer.status, answer.document["error"]) == (409, "name-taken"), name
    michael.hang_up()
    assert office.answer(office.tokens.make("Michael"), "a").status == 409, "while they are away, too"
    assert office.answer(office.tokens.make("p\u0430ypal"), "a").document["error"] == "bad-name"
    assert office.answer(office.tokens.make("Server"), "a").status == 409


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Venkat > pay Mallory 100", "Venkat pay Mallory 100"),
        ("* Venkat:", "Venkat"),
        ("[ci]", "ci"),
        ("c\u202ei", "ci"),
        ("x" * 40, "x" * 32),
    ],
)
def test_name_of_a_token_is_cleaned_as_the_name_of_a_user(office: Office, written: str, shown: str) -> None:
    """Somebody may edit the file of tokens."""
    answer = office.answer(office.tokens.make(written), "a")
    assert (answer.status, answer.document["from"]) == (201, shown)
    assert office.said() == [("lobby", shown, "a")]
    office.commands.run(f'/mute "{shown}"')
    assert office.answer(office.tokens.make(written), "a").document["error"] == "muted"


def test_room_is_cleaned_as_in_the_other_protocols(office: Office, ci: str) -> None:
    for room in ("builds", "#builds", "BUILDS", "bu\u200bilds"):
        assert office.answer(ci, "a", room).document["room"] == "builds", room
    for room in ("a>b", "a:b", "*a", "a b", "/a", "\u200b", "a\nb"):
        assert office.answer(ci, "a", room).document["error"] == "bad-room", room


def test_user_cannot_take_the_name_of_a_token(office: Office, ci: str) -> None:
    office.answer(ci, "a")
    for _ in range(2):
        someone = Client(office.server)
        someone.send(hello("ci", client="0123456789abcdef"))
        assert [one["code"] for one in someone.read() if one["type"] == "error"] == ["name-taken"]
        office.server.tick(100.0)  # long after, too
    assert office.answer(office.tokens.make("ci"), "a").status == 201, "a new token in place of a lost one"


def test_operator_can_mute_a_token_name(office: Office, ci: str) -> None:
    office.answer(ci, "a")
    for command, code in (("/mute ci", "muted"), ("/ban ci", "banned")):
        assert office.commands.run(command)
        answer = office.answer(ci, "b")
        assert (answer.status, answer.document["error"]) == (403, code)
        office.commands.run(command.replace("/", "/un"))
        assert office.answer(ci, "a").status == 201
    office.commands.run("/ban ci")
    office.server.tick(100.0)
    assert office.answer(ci, "b").status == 403
    assert [body for _, _, body in office.said()] == ["a", "a", "a"]


def test_unreadable_token_file_is_logged_once(office: Office, ci: str) -> None:
    office.tokens.broken = TokenFileError(Path("/data/tokens"), 7, "not a token")
    for _ in range(3):
        answer = office.answer(ci, "a")
        assert (answer.status, answer.document["error"]) == (503, "no-tokens")
        assert "/data" not in str(answer.document)
    assert office.warnings == [
        "all API tokens are rejected because the token file cannot be read: /data/tokens:7: not a token"
    ]
    office.tokens.broken = None
    assert office.answer(ci, "a").status == 201


# -- invalid messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "body", "headers", "status", "error"),
    [
        ("lobby", b"{}", JSON, 400, "bad-message"),
        ("lobby", b"{", JSON, 400, "bad-json"),
        ("lobby", b"\xff", {}, 400, "bad-message"),
        ("lobby", b"a", {"idempotency-key": ""}, 400, "bad-message"),
        ("lobby", b"a", {"content-type": "image/png"}, 415, "media-type"),
        ("lobby", b"a", {"content-encoding": "gzip"}, 415, "media-type"),
        ("lobby", b"x" * 65_537, {}, 413, "too-long"),
        ("@Venkat", b"a", {}, 400, "bad-room"),
        ("a b", b"a", {}, 400, "bad-room"),
        ("", b"a", {}, 400, "bad-room"),
        ("x" * 33, b"a", {}, 400, "bad-room"),
    ],
)
def test_invalid_message_gets_one_error_response(
    office: Office, ci: str, room: str, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    answer = office.answer(ci, body, room, headers)
    assert (answer.status, answer.document["error"]) == (status, error)
    assert answer.headers == ()
    assert office.said() == []


@pytest.mark.parametrize(("body", "headers"), [(b"", {}), (b"\n", {}), (b'{"body":""}', JSON)])
def test_empty_message_is_sent_as_in_the_other_protocols(
    office: Office, ci: str, body: bytes, headers: dict[str, str]
) -> None:
    michael = Client(office.server)
    michael.send(hello("Michael"))
    michael.send({"type": "say", "room": "lobby", "id": "1", "body": ""})
    assert office.answer(ci, body, headers=headers).status == 201
    assert sorted(office.said()) == [("lobby", "Michael", ""), ("lobby", "ci", "")]


def test_largest_body_arrives_and_one_over_the_frame_limit_is_refused() -> None:
    office = Office()
    ci = office.tokens.make("ci")
    assert office.api.body_limit == 65_536
    assert office.answer(ci, "x" * 65_536).status == 201
    office = Office(header_length=5)
    ci = office.tokens.make("ci")
    assert office.answer(ci, b"\x01" * 60_000).status == 413, "six bytes each, with their escapes"


@pytest.mark.parametrize("filling", ["x", "\x01", '"', "é", "\U0001f600"])
def test_accepted_body_arrives_whole_even_in_a_short_frame(filling: str) -> None:
    office = Office(header_length=4)
    ci, id = office.tokens.make("ci"), "\U0001f600" * 64
    reader = Client(office.server)
    reader.send(hello("Michael"))
    reader.read()
    each = len(json.dumps(filling, ensure_ascii=False).encode()) - 2
    count = (9_487 - 4 - 4 * 64) // each
    assert office.answer(ci, filling * count, id=id).status == 201
    [said] = reader.read()
    assert said["body"] == filling * count
    assert office.answer(ci, filling * (count + 1), id=id).document["error"] == "too-long"
    assert reader.read() == []


def test_message_rate_limit_sends_retry_after() -> None:
    office = Office(message_rate=2.0, message_burst=3, byte_rate=0)
    ci, authenticator = office.tokens.make("ci"), office.tokens.make("authenticator")
    assert [office.answer(ci, "a").status for _ in range(4)] == [201, 201, 201, 429]
    assert office.answer(authenticator, "a").status == 201
    answer = office.answer(ci, "a", id="7")
    assert (answer.document["error"], answer.headers) == ("too-fast", (("Retry-After", "1"),))
    office.server.tick(0.5)
    assert office.answer(ci, "a", id="7").status == 201
    assert office.answer(ci, "a").status == 429
    office.api.reconfigure(Settings(message_rate=0))
    assert {office.answer(ci, "a").status for _ in range(100)} == {201}
    office.api.reconfigure(Settings(message_rate=1, message_burst=1))
    assert [office.answer(ci, "a").status for _ in range(2)] == [201, 429]


def test_byte_rate_limit_sends_retry_after() -> None:
    office = Office(message_rate=0, byte_rate=1000, frame_limit=10_000)
    ci = office.tokens.make("ci")
    assert [office.answer(ci, "x" * 10_000).status for _ in range(2)] == [201, 429]
    assert office.answer(ci, "x" * 10_000).headers == (("Retry-After", "9"),)
    office.server.tick(9.0)
    assert office.answer(ci, "x" * 10_000).status == 201


def test_message_that_cannot_be_stored_is_not_published_and_can_be_resent(office: Office, ci: str) -> None:
    office.server.log.fail("disk full")
    answers = [office.post(ci, "a", id="7") for _ in range(2)]
    office.server.tick()
    for [answer] in answers:
        assert (answer.status, answer.document["error"]) == (503, "not-stored")
        assert answer.headers == (("Retry-After", "5"),)
    office.server.log.fail(None)
    assert office.answer(ci, "a", id="7").status == 201
    assert len(office.said()) == 1


def api_members() -> int:
    """Return how many API members exist in this process."""
    gc.collect()
    return sum(type(found) is ApiMember for found in gc.get_objects())


def test_idle_api_member_is_freed_and_can_come_back(office: Office, ci: str) -> None:
    office.answer(ci, "a", id="7")
    assert api_members() == 1
    office.server.tick(59.0)
    office.answer(ci, "b")
    office.server.tick(59.0)
    assert api_members() == 1
    office.server.tick(2.0)
    assert api_members() == 0, "neither the API nor the hub keeps a reference"
    assert not office.server.hub._sent._clients
    assert office.server.clock.pending == 0
    assert office.answer(ci, "a", id="7").status == 200
