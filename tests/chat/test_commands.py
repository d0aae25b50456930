from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from selchat.chat.commands import Commands
from selchat.chat.hub import Hub
from selchat.chat.operators import NotOperatorError
from selchat.chat.people import hash_api_name, hash_client_secret
from selchat.config.settings import Settings
from selchat.errors import BannedError, NameTakenError
from tests.chat.fakes import FakeClock, FakeObserver, FakePeer
from tests.chat.test_hub import Chat, bodies


class Operator:
    def __init__(self, settings: Settings | None = None) -> None:
        self.chat = Chat(settings)
        self.quits = 0
        warnings: list[str] = []
        commands = Commands(self.chat.hub, self._quit, warnings.append)
        self.run: Callable[[str], list[str]] = commands.run
        self.commands = commands
        self.warnings = warnings

    def run_remote(self, peer: FakePeer, line: str) -> list[str]:
        assert peer.member is not None
        return self.commands.remote(line, peer.member)()

    def _quit(self) -> None:
        self.quits += 1


def test_plain_line_goes_to_everyone() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    assert operator.run("Lunch is ready  ") == []
    operator.chat.tick()
    assert bodies(michael) == [b"Lunch is ready"]
    assert operator.chat.sent() == [("Server", "Lunch is ready")]


@pytest.mark.parametrize("line", ["", "   ", "\t", "\r"])
def test_empty_line_sends_nothing(line: str) -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run(line) == []
    operator.chat.tick()
    assert operator.chat.sent() == []


def test_double_slash_sends_a_line_with_one_slash() -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run("//help is for the operator") == []
    operator.chat.tick()
    assert operator.chat.sent() == [("Server", "/help is for the operator")]


def test_users_are_listed_with_their_addresses() -> None:
    operator = Operator()
    assert operator.run("/users") == ["Nobody is online."]
    operator.chat.sign_in("venkat", "Michael")
    assert operator.run("/USERS") == [
        "Users online (2):",
        "  Michael  192.168.43.169:54494",
        "  venkat  192.168.43.169:54494",
    ]


def test_kick_disconnects_the_named_member() -> None:
    operator = Operator()
    michael, narayan = operator.chat.sign_in("Michael Jackson", "Narayan")
    assert operator.run("/kick   michael jackson ") == []
    operator.chat.tick()
    assert michael.gone
    assert not narayan.gone
    assert operator.run("/kick Michael Jackson") == [
        "There is no one named Michael Jackson. Type /users to see who is online."
    ]


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("/kick", "/kick NAME"),
        ("/ban", "/ban NAME|ADDRESS [for 1h10m]"),
        ("/unban", "/unban NAME|ADDRESS"),
        ("/mute", "/mute NAME [for 1h10m]"),
        ("/unmute", "/unmute NAME"),
        ("/op", "/op NAME"),
        ("/deop", "/deop NAME"),
    ],
)
def test_command_without_its_name_shows_its_usage(line: str, usage: str) -> None:
    operator = Operator()
    for blank in (line, f"{line} ", f"{line}\t\t", f'{line} ""', f'{line} " "'):
        assert operator.run(blank) == [f"Usage: {usage}"]
    assert operator.run("/bans") == ["Nobody is banned or muted."]


def test_bans_and_mutes_are_listed_until_they_are_lifted() -> None:
    operator = Operator()
    michael, narayan = operator.chat.sign_in("Michael", "Narayan")
    assert operator.run("/ban michael")[0] == "Banned michael. Disconnected: Michael."
    assert operator.run("/mute Narayan") == ["Muted Narayan."]
    assert operator.run("/ban 192.0.2.0/24 ") == ["Banned 192.0.2.0/24."]
    assert operator.run("/bans") == ["Banned: michael", "Banned: 192.0.2.0/24", "Muted: Narayan"]
    assert (michael.closed_for, narayan.closed_for) == (["banned by the operator"], [])
    assert operator.run("/unban Michael") == ["Michael is no longer banned."]
    assert operator.run("/unban Michael") == ["Michael is not banned. Type /bans to see who is."]
    assert operator.run("/unban 192.0.2.0/24") == ["192.0.2.0/24 is no longer banned."]
    assert operator.run("/unmute narayan") == ["narayan is no longer muted."]
    assert operator.run("/unmute narayan") == ["narayan is not muted. Type /bans to see who is."]
    assert operator.run("/bans") == ["Nobody is banned or muted."]


@pytest.mark.parametrize(("command", "answer"), [("/ban", "Not banned"), ("/mute", "Not muted")])
def test_sanction_with_an_invalid_duration_does_nothing(command: str, answer: str) -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    [line] = operator.run(f"{command} Michael for ever")
    assert line.startswith(f"{answer}: for: 'ever' is not a ")
    assert michael.closed_for == []
    assert operator.run("/bans") == ["Nobody is banned or muted."]


def test_rooms_are_listed_with_members_messages_and_topics() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    engine = michael.join_room("engine")
    operator.chat.hub.set_topic(michael.member, engine, "oil")
    operator.run("tea")
    operator.chat.tick()
    assert operator.run("/rooms") == [
        "Rooms (2):",
        "  engine  1 online, 0 messages, topic: oil",
        "  lobby  1 online, 1 messages",
    ]


def test_remote_operator_can_run_commands_but_not_quit_or_announce() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in_owners("Michael")
    operator.run("/op Michael")
    assert operator.run_remote(michael, "/users")[0] == "Users online (1):"
    for line in (" /QUIT now", "/quit", "/op Michael", "/deop\tMichael"):
        [answer] = operator.run_remote(michael, line)
        word = line.split()[0].lower()
        assert answer.endswith(f": {word} works only in the server's own terminal.")
    assert operator.run_remote(michael, "hello") == ["Commands begin with a slash. Type /help to list them."]
    operator.chat.tick()
    assert operator.quits == 0
    assert operator.chat.sent() == []


def test_rooms_drop_deletes_a_room_with_its_messages() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    hub = operator.chat.hub
    plans = hub.join_room(michael.member, "plans")
    hub.send(michael.member, plans, ["x"])
    operator.chat.tick()
    assert operator.run("/rooms drop plans") == [
        "Not deleted: Michael joined plans. They have to leave it first; see /kick."
    ]
    hub.leave_room(michael.member, plans)
    assert operator.run("/rooms DROP #Plans") == ["Deleted the room plans and its 1 message."]
    while hub.rooms.delete_dropped():
        pass
    assert hub.log.after("plans", 0, 10, 1000) == []
    assert operator.run("/rooms drop plans") == ["There is no room plans. Type /rooms to list the rooms."]
    assert operator.run("/rooms drop lobby") == ["Not deleted: everyone joins the lobby first."]


@pytest.mark.parametrize("line", ["/rooms drop", "/rooms plans", "/rooms remove plans"])
def test_rooms_with_unclear_words_shows_its_usage(line: str) -> None:
    assert Operator().run(line) == ["Usage: /rooms, or /rooms drop ROOM"]


def test_quit_stops_the_server() -> None:
    operator = Operator()
    assert operator.run("/quit") == []
    assert operator.quits == 1


def test_help_lists_every_command() -> None:
    lines = Operator().run("/help")
    words = [line.split()[0] for line in lines[:-2]]
    assert words == [
        *("/users", "/rooms", "/kick", "/ban", "/unban", "/mute", "/unmute", "/bans", "/op", "/deop", "/ops"),
        *("/help", "/quit"),
    ]
    assert "/mute NAME [for 1h10m]         let someone read but not send" in lines
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1] == "Any other text goes to everyone in the lobby, from Server."


@pytest.mark.parametrize("line", ["/", "/nonsense", "/usersx", "/quit!"])
def test_unknown_command_is_not_sent_to_everyone(line: str) -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run(line) == [
        f"Unknown command {line}. Type /help to list the commands, or //text to send /text to everyone."
    ]
    operator.chat.tick()
    assert operator.chat.sent() == []
    assert operator.quits == 0


# -- names with spaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/mute Table for two", "Muted Table for two."),
        ("/mute table  FOR\ttwo", "Muted table FOR two."),
        ('/mute "Table for two"', "Muted Table for two."),
        ("/mute \u201cTable for two\u201d", "Muted Table for two."),
        ("/mute Table for two for 2h", "Muted Table for two until "),
        ('/mute "Table for two" for 2h', "Muted Table for two until "),
        ('/mute "Table for two"for 2h', "Muted Table for two until "),
        ('/mute "Table for 2h"', "Muted Table for 2h."),
        ("/mute Table for 2h", "Muted Table until "),
        ("/ban Table for two for 1d 12h", "Banned Table for two until "),
        ("/ban Table for two", "Banned Table for two. Disconnected: Table for two."),
    ],
)
def test_name_is_quoted_or_the_longest_known_one(line: str, answer: str) -> None:
    operator = Operator()
    operator.chat.sign_in("Table for two", "Table")
    assert operator.run(line)[0].startswith(answer)
    if "until" not in answer:
        assert "until" not in operator.run("/bans")[0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "/ban X for 1 month",
            "for: '1 month' is not a time such as 30s, 10m, 2h, 3d, 4w or 1h10m; put a name",
        ),
        ("/ban X for", "for: '' is not a time such as 30s, 10m, 2h, 3d, 4w or 1h10m; put a name"),
        ("/ban X 1h", "'1h' after the name X is not for and a time such as"),
        ("/ban X fore 1h", "'fore 1h' after the name X is not for and a time such as"),
        ("/ban Table for two", "for: 'two' is not a time such as 30s, 10m, 2h, 3d, 4w or 1h10m; put a name"),
        ("/ban Michael for 1 month", "for: '1 month' is not a time such as 30s, 10m, 2h, 3d, 4w or 1h10m"),
        ("/ban Michael for 2H", "for: '2H' is not a time such as"),
        ("/ban Michael for 0s", "for: '0s' is not more than zero"),
        ("/ban Michael for", "for: '' is not a time such as"),
        ("/ban Michael for 3651d", "for: '3651d' is not a time of up to ten years (3650d)"),
        (
            "/ban Michael for 999999d999999d999999d",
            "for: '999999d999999d999999d' is not a time of up to ten years",
        ),
        ("/ban 192.0.2.7 for ever", "for: 'ever' is not a time such as"),
        (
            '/ban "Michael for 1h',
            "a name begins with a quotation mark, but another one is missing at its end.",
        ),
        ('/ban "Michael" 1h', "'1h' after the name Michael is not for and a time such as"),
        ("/ban Michael\u00a0for\u2003ever", "for: 'ever' is not a time such as"),
    ],
)
def test_words_that_are_no_duration_are_an_error_that_names_them(line: str, why: str) -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    for command, answer in (("/ban", "Not banned"), ("/mute", "Not muted")):
        [shown] = operator.run(line.replace("/ban", command))
        assert shown.startswith(f"{answer}: {why}")
    assert michael.closed_for == []
    assert operator.run("/bans") == ["Nobody is banned or muted."]


@pytest.mark.parametrize("line", ['/kick "Table for two"', "/kick Table for two", "/kick  table for  TWO"])
def test_commands_with_only_a_name_take_the_whole_line(line: str) -> None:
    operator = Operator()
    [table] = operator.chat.sign_in("Table for two")
    assert operator.run(line) == []
    assert table.closed_for == ["kicked by the operator"]
    assert operator.run('/kick "Table" for two') == ["Not disconnected: 'for two' follows the name Table."]


def test_sanction_of_a_name_that_nobody_has_used_says_so() -> None:
    operator = Operator()
    assert operator.run("/ban Nobody") == ["Banned Nobody.", "Nobody has used the name Nobody yet."]
    assert operator.run('/mute "No body"') == ["Muted No body.", "Nobody has used the name No body yet."]
    assert operator.run("/unmute No body") == ["No body is no longer muted."]


def test_ban_by_name_offers_the_address_too() -> None:
    operator = Operator()
    operator.chat.sign_in("Narayan", "Michael")
    assert operator.run("/ban Narayan") == [
        "Banned Narayan. Disconnected: Narayan.",
        "They can come back with another name. To ban the address too: /ban 192.168.43.169",
    ]
    assert operator.run("/ban 192.168.43.169") == ["Banned 192.168.43.169. Disconnected: Michael."]


def test_long_command_is_refused_at_once() -> None:
    operator = Operator()
    for line in (
        "/mute a" + " " * 60_000 + "x",
        "/mute " + "a for " * 10_000,
        '/mute "' + " " * 60_000 + "x",
    ):
        [answer] = operator.run(line)
        assert answer.startswith("Not run: a command has at most 1000 characters, and this one has ")
    assert operator.run("/mute a" + " " * 900 + "x")[0].startswith("Not muted: 'x' after the name a")


# -- operators -------------------------------------------------------------------------------------------


def remote_error(operator: Operator, peer: FakePeer, line: str = "/bans") -> str:
    try:
        operator.run_remote(peer, line)
    except NotOperatorError as error:
        return error.code
    return ""


def test_name_in_the_settings_gives_no_rights() -> None:
    operator = Operator(Settings(roster=False, operators=("Boss",)))
    [impostor] = operator.chat.sign_in_owners("Boss")
    assert remote_error(operator, impostor) == "not-operator"
    assert operator.run("/ops") == ["Not claimed yet: Boss"]


def test_console_makes_the_owner_of_a_name_an_operator() -> None:
    operator = Operator()
    boss, other = operator.chat.sign_in_owners("Boss", "Michael")
    assert operator.run("/op boss") == ["boss is an operator now. They are online from 192.168.43.169:54494."]
    assert remote_error(operator, boss) == ""
    assert remote_error(operator, other) == "not-operator"
    assert operator.run("/ops") == ["Operator: boss"]
    assert operator.run("/deop BOSS") == ["BOSS is no longer an operator."]
    assert remote_error(operator, boss) == "not-operator"
    assert operator.run("/deop BOSS") == ["BOSS is not an operator. Type /ops to see who is."]
    assert operator.run("/ops") == ["There are no operators. Type /op NAME to make someone one."]


def test_rights_follow_the_client_and_not_the_spelling() -> None:
    operator = Operator()
    [boss] = operator.chat.sign_in_owners("Boss")
    operator.run("/op Boss")
    again = FakePeer(operator.chat.hub, operator.chat.fanout, operator.chat.format)
    again.member = operator.chat.hub.sign_in("Chief", "192.0.2.1:5", again, hash_client_secret("Boss"))
    assert remote_error(operator, again) == ""
    boss.sign_out(None)
    with pytest.raises(NameTakenError):
        operator.chat.hub.sign_in("Boss", "192.0.2.1:5", boss, hash_client_secret("thief"))


def test_nobody_without_a_secret_becomes_an_operator() -> None:
    operator = Operator()
    operator.chat.sign_in("Guest")
    hub = operator.chat.hub
    peer = FakePeer(hub, operator.chat.fanout, operator.chat.format)
    hub.sign_in_send_only("ci", "192.0.2.1:5", peer, hash_api_name("ci"))
    assert operator.run("/op Guest") == [
        "Not changed: Guest uses a classic client, which cannot prove who they are."
    ]
    assert operator.run("/op Nobody") == [
        "Not changed: nobody owns the name Nobody. They must sign in with it first."
    ]
    assert operator.run("/op ci") == ["Not changed: ci belongs to an API token, which cannot send commands."]
    assert operator.run("/ops") == ["There are no operators. Type /op NAME to make someone one."]


def claimed(operator: Operator) -> dict[str, str]:
    return dict(operator.chat.hub.operators.unclaimed())


def test_code_makes_its_sender_an_operator_once() -> None:
    operator = Operator(Settings(roster=False, operators=("Boss", "Chief")))
    venkat, other = operator.chat.sign_in_owners("Venkat", "Michael")
    code = claimed(operator)["Boss"]
    assert operator.run_remote(venkat, f"/claim {code.lower().replace('-', ' ')},") == [
        "You are an operator now, and the name Boss is yours. Type /help to list the commands."
    ]
    assert remote_error(operator, venkat) == ""
    assert [*claimed(operator)] == ["Chief"]
    [answer] = operator.run_remote(other, f"/claim {code}")
    assert answer.startswith("Not changed: this is no operator code: codes are valid once")
    assert remote_error(operator, other) == "not-operator"
    assert operator.chat.hub.name_owner("boss") == hash_client_secret("Venkat")
    assert operator.warnings == [
        "Venkat at 192.168.43.169:54494 has claimed the operator name Boss; "
        "if that is wrong, type /deop Boss",
        "Michael at 192.168.43.169:54494 has sent a wrong operator code",
    ]


def test_claim_takes_the_name_from_a_squatter() -> None:
    operator = Operator(Settings(roster=False, operators=("Boss",)))
    squatter, venkat = operator.chat.sign_in_owners("Boss", "Venkat")
    operator.run_remote(venkat, f"/claim {claimed(operator)['Boss']}")
    assert squatter.closed_for == ["an operator has claimed the name"]
    assert operator.chat.hub.name_owner("Boss") == hash_client_secret("Venkat")
    assert remote_error(operator, venkat) == ""


def test_wrong_codes_lock_the_address_out() -> None:
    operator = Operator(Settings(roster=False, operators=("Boss",)))
    [michael] = operator.chat.sign_in_owners("Michael")
    code = claimed(operator)["Boss"]
    for wrong in ("", "x", "0000-0000-0000-0000", code[:-1], f"{code}0", "\u0660" * 16, "x" * 60_000):
        [answer] = operator.run_remote(michael, f"/claim {wrong}")
        assert "an operator now" not in answer
    assert operator.run_remote(michael, f"/claim {code}")[0].startswith(
        "Not changed: too many login attempts"
    )
    assert len(operator.warnings) == 5
    operator.chat.tick(3.0)
    assert operator.run_remote(michael, f"/claim {code}")[0].startswith("You are an operator now")


def test_operators_survive_a_restart_and_their_names_are_never_free() -> None:
    operator = Operator(Settings(roster=False, operators=("Boss",)))
    operator.chat.time = 1e9
    hub = operator.chat.hub
    venkat, _ = operator.chat.sign_in_owners("Venkat", "Michael")
    operator.run("/op Michael")
    operator.run_remote(venkat, f"/claim {claimed(operator)['Boss']}")
    operator.chat.log.commit()
    for settings, ops in [
        (Settings(operators=("BOSS",)), ["Operator: Michael", "Operator: Boss"]),
        (Settings(), ["Operator: Michael"]),
        (
            Settings(operators=("Boss", "Chief")),
            ["Operator: Michael", "Operator: Boss", "Not claimed yet: Chief"],
        ),
    ]:
        hub = Hub(settings, operator.chat.log, FakeClock(), FakeObserver(), lambda: 1e9 + 200 * 86_400)
        hub.collect_garbage()
        assert Commands(hub, lambda: None).run("/ops") == ops
        assert hub.name_owner("Boss") == hash_client_secret("Venkat")
        assert hub.name_owner("Michael") == hash_client_secret("Michael")
        assert hub.name_owner("Venkat") is None


def test_codes_differ_and_change_with_each_start() -> None:
    names = tuple(f"Boss{number}" for number in range(50))
    codes = {
        code
        for _ in range(2)
        for _, code in Operator(Settings(operators=names)).chat.hub.operators.unclaimed()
    }
    assert len(codes) == 100
    assert all(re.fullmatch("([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)
    hub = Operator(Settings(operators=names)).chat.hub
    before = hub.operators.unclaimed()
    hub.reconfigure(Settings(operators=names[:20]))
    assert hub.operators.unclaimed() == before[:20], "a reload keeps the codes"


@pytest.mark.parametrize(
    ("written", "banned", "inside", "outside"),
    [
        ("fd00:9::7", "fd00:9::/64", "fd00:9::8", "fd00:9:0:1::8"),
        ("fd00:9::7/128", "fd00:9::7/128", "fd00:9::7", "fd00:9::8"),
        ("[fd00:9::7]:54494", "fd00:9::/64", "fd00:9::8", "fd00:9:0:1::8"),
        ("::ffff:10.9.0.9", "10.9.0.9", "10.9.0.9", "10.9.0.8"),
        ("fe80::7%eth0 for 1h", "fe80::/10%eth0", "fe80::8%eth0", "fe80::7%eth1"),
    ],
)
def test_ban_of_an_address_names_the_network_that_it_covers(
    written: str, banned: str, inside: str, outside: str
) -> None:
    operator = Operator()
    moderation = operator.chat.hub.moderation
    [answer] = operator.run(f"/ban {written}")
    assert answer.startswith(f"Banned {banned}")
    with pytest.raises(BannedError):
        moderation.check_address(inside)
    moderation.check_address(outside)
    assert operator.run("/bans")[0].startswith(f"Banned: {banned}")
    address = written.partition(" ")[0]
    assert operator.run(f"/unban {address}") == [f"{banned} is no longer banned."]
    moderation.check_address(inside)


@pytest.mark.parametrize(
    "written",
    [
        "fd00:::1",
        "fd00::g",
        "10.0.0.0/33",
        "10.9",
        "010.9.0.7",
        "10.9.0.*",
        "1.2.3.4.5",
        "256.1.1.1",
        "[::1",
        ":1",
    ],
)
def test_text_that_looks_like_an_address_is_not_taken_for_a_name(written: str) -> None:
    operator = Operator()
    for command, start in (("/ban", "Not banned"), ("/mute", "Not muted")):
        [answer] = operator.run(f"{command} {written} for 1h")
        assert answer.startswith(f"{start}: {written!r} is not an address such as ")
    assert operator.run("/bans") == ["Nobody is banned or muted."]


def test_name_that_looks_like_an_address_can_be_banned_while_it_is_known() -> None:
    operator = Operator()
    operator.chat.sign_in("10.9")
    assert operator.run("/ban 10.9")[0] == "Banned 10.9. Disconnected: 10.9."
    assert operator.run("/unban 10.9") == ["10.9 is no longer banned."]


def test_address_cannot_be_muted() -> None:
    operator = Operator()
    assert operator.run("/mute 192.0.2.7") == [
        "Not muted: only a name can be muted; /ban keeps an address out."
    ]
    assert operator.run("/bans") == ["Nobody is banned or muted."]
