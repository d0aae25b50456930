"""No name, text, topic or room makes a line that looks like another one, whatever a server sends."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from selchat.client import lines
from selchat.client.events import (
    ClientEvent,
    Encryption,
    Gap,
    Message,
    NotStored,
    Parted,
    SeenAuthors,
    Unencrypted,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.terminal import style
from selchat.events import SERVER, Joined, Left, Topic

# The grammar of docs/users.rst, written out here.
_LINE = re.compile(
    r"(?:\[(?P<room>[^\[\]]+)\] )?"
    r"(?:\* (?P<actor>\"[^\"]+\"|[^ \"]+) (?P<action>.*)"
    r"|(?P<name>[^\[\]*>:][^\[\]>:]*?)(?P<direct> whispers)? > (?P<text>.*))"
)
_TIME = re.compile(r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d(?::\d\d)? ")

parts = st.sampled_from(
    [
        *" >:[]*\"'()\\-@#/,.…<{}",
        *("\t", "\n", "\r", "\x1b[2J", "\u2003", "\u00a0", "\u200b", "\u202e", "\u0308", "\u2028"),
        *(
            "Venkat",
            "Server",
            "You",
            "You to ",
            " whispers",
            " > ",
            "* ",
            "[lobby] ",
            "x3e",
            "\\x3e",
            "\\u2026",
        ),
        *(
            "12:04 ",
            " and 3 more",
            " joined (3 here)",
            " set the topic: ",
            "(not encrypted) ",
            "ë",
            "e\u0308",
            "日本",
        ),
        *("＞", "›", "﹥", "：", "selchat: ", "You are in lobby (2 here)", "Connected to the Server: "),
    ]
)
texts = st.text(max_size=20) | st.lists(parts, max_size=6).map("".join)
names = texts
rooms = texts


@st.composite
def messages(draw: st.DrawFn) -> Message | Whispered:
    author = draw(names | st.just("Server"))
    body = draw(texts | texts.map(lambda text: f"* {author} {text}"))
    encryption = draw(st.sampled_from(Encryption))
    body = body if encryption.is_readable else ""
    if draw(st.booleans()):
        return Whispered(author, body, "Michael", 1, 1.0, encryption=encryption)
    return Message(author, body, draw(rooms), 1, 1.0, encryption=encryption)


@given(messages(), rooms)
@example(Message("Venkat whispers", "hey"), "")
@example(Message("Venkat > I quit", "hey"), "")
@example(Message("* Venkat", "waves"), "")
@example(Message("Venkat", "* Venkat Rao sleeps"), "")
@example(Message("Venkat Rao", "* Venkat Rao sleeps"), "")
def test_a_line_parses_back_to_its_author_and_text(message: Message | Whispered, room: str) -> None:
    line = lines.format_message(message, room)
    assert re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", line) is None
    match = _LINE.fullmatch(line)
    assert match is not None, line
    author = lines.safe_name(message.author)
    if isinstance(message, Whispered):
        assert match["room"] is None
        assert (match["name"], match["text"]) == (author, lines.format_body(message))
        assert bool(match["direct"]) == (message.author != SERVER)
        return
    assert match["room"] == (lines.safe_name(room) if room else None)
    if match["actor"]:
        assert match["actor"].strip('"') == author
        assert lines.safe(message.body) == f"* {lines.safe(message.author)} {match['action']}"
    else:
        assert (match["name"], match["direct"]) == (author, None)
        assert match["text"] == lines.format_body(message)


@given(names, names)
@example("Zoë", "Zoe\u0308")
@example("a>", "a\\x3e")
@example("", "(no name)")
@example("You", "\\x59ou")
@example("Venkat whispers", "Venkat\\x20whispers")
def test_two_names_never_look_the_same(one: str, other: str) -> None:
    assert (lines.safe_name(one) == lines.safe_name(other)) == (one == other)


@given(names)
def test_no_name_looks_like_another_part_of_a_line(name: str) -> None:
    shown = lines.safe_name(name)
    assert shown
    assert shown.isprintable()
    assert not set(shown) & set('>:[],"<') or shown == "(no name)"
    assert not shown.startswith((" ", "*", "…", "You to ", "You in ", "-", "(")) or shown == "(no name)"
    assert not shown.endswith((" ", " whispers"))
    assert shown != "You"
    assert _TIME.match(f"{shown} ") is None


@given(st.data(), rooms, names, texts)
def test_no_notice_looks_like_a_message(data: st.DataObject, room: str, name: str, text: str) -> None:
    listed = tuple(data.draw(st.lists(names, min_size=1, max_size=3)))
    events: list[ClientEvent] = [
        Joined(room, listed, 3),
        Left(room, listed, 3),
        Topic(room, text, name, 1.0),
        Users(room, listed, 3, text, 1, joined=True),
        Parted(room),
        Gap(room, 1, 4),
        NotStored(text),
        Unencrypted(text),
        Welcomed(name, "", (), 0, again=True, renumbered=True),
    ]
    shown = [line for event in events if (line := lines.format_event(event, room)) is not None]
    shown += [line for event in events[3:4] for line in lines.answer(event)]
    shown += lines.answer(SeenAuthors(listed))
    shown += [lines.new_name(name), lines.no_messages(room)]
    for line in shown:
        assert _LINE.fullmatch(line) is None, line


@given(st.lists(names, max_size=5), st.integers(0, 3))
def test_a_list_of_names_parses_back(listed: list[str], missing: int) -> None:
    users = Users("lobby", tuple(listed), len(listed) + missing, "", 0, joined=False)
    [line] = lines.answer(users)
    start, end = f"Users online ({users.total}): ", f" and {missing} more" if missing else ""
    assert line.startswith(start)
    assert line.endswith(end)
    shown = line[len(start) : len(line) - len(end)]
    assert (shown.split(", ") if listed else [""]) == (list(map(lines.listed_name, listed)) or [""])
    assert len(set(map(lines.listed_name, listed))) == len(set(listed))


@given(texts, names, texts)
def test_no_line_of_another_looks_like_one_of_the_user(text: str, name: str, other: str) -> None:
    own = style.sent("lobby", "", text, "Michael", here=True)
    direct = style.sent("", name, text, "Michael", here=True)
    for room in ("", "Engine"):
        theirs = style.text(style.message(Message(name, other), "Michael", room=room))
        # A user's own action is the line that everybody sees.
        assert theirs not in {own, direct} or (name == "Michael" and own.startswith("* "))
