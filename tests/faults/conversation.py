"""A scripted conversation with every feature of every protocol, and a check of its result.

`Conversation.run` sends the same data every time: no peer waits for a reply, so a fault at any step does not
change the later steps. `check` then compares the data that each peer received with the sent messages.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.e2e.selchat_support import encoded, greeting
from tests.e2e.support import frame
from tests.e2e.web_support import (
    CLOSE,
    CONT,
    PING,
    TEXT,
    Answer,
    answers,
    closing,
    masked,
    opening,
    request,
    server_frames,
    texts,
)
from tests.faults.world import Peer, World, frames

_BODY = re.compile(r"(\w+) says (\d+)\.*")
_LARGE = 30_000  # characters: more than the socket of a peer that does not read can hold
_CLASSIC, _SELCHAT, _WEB = ("Ann", "Ben"), ("Cleo", "Dag"), ("Hal", "Ida")
# Requests of a visitor without a WebSocket, and the statuses of their responses.
_ASKED = [
    (request("/healthz"), 200),
    (request("/healthz", method="HEAD"), 200),
    (request("/nothing"), 404),
    (request("/healthz", method="POST", body=b"x" * 3000), 405),
    (request(host="evil.example"), 421),
    (b"no request at all\r\n\r\n", 400),
]


class Conversation:
    """``large``: characters of the largest messages. ``secure``: users connect with TLS."""

    def __init__(self, world: World, large: int = _LARGE, *, secure: bool = False) -> None:
        self.world = world
        self._secure = secure
        self._large = large
        self._said = 0
        self._people: dict[str, list[Peer]] = {}
        self._others: list[Peer] = []
        self._visitors: list[Peer] = []

    def run(self) -> None:
        """Run the conversation of classic and selchat clients."""
        world = self.world
        ann, ben, cleo, dag = (self._arrive(name) for name in (*_CLASSIC, *_SELCHAT))
        world.pass_time(2)
        for room in ("engine-room", "lobby"):
            for peer in (cleo, dag):
                peer.send(encoded({"type": "join", "room": room}))
        ann.send(self._line("Ann") + self._line("Ann"))
        first = self._line("Ben")
        ben.send(first[:4])
        ben.send(first[4:])
        cleo.send(self._say("Cleo") + self._say("Cleo", "engine-room") + self._say("Cleo"))
        dag.send(self._whisper("Dag", "Cleo") + self._say("Dag", "engine-room"))
        cleo.send(encoded({"type": "ack", "whisper": 1}, {"type": "topic", "room": "lobby", "topic": "tea"}))
        dag.send(
            encoded(
                {"type": "history", "room": "lobby", "limit": 10},
                {"type": "users", "room": "lobby"},
                {"type": "rooms"},
                {"type": "ping", "token": "?"},
                {"type": "nonsense"},
            )
        )
        # Two peers stop reading and fall behind with a feed, one of them with replies too.
        for peer in (ben, dag):
            peer.reads = False
        for _ in range(2):
            ann.send(self._line("Ann", self._large))
            cleo.send(self._say("Cleo", size=self._large))
        dag.send(encoded({"type": "history", "room": "lobby", "limit": 5}) + self._say("Dag"))
        for peer in (ben, dag):
            peer.reads = True
        world.pass_time(0.5)
        # Dag loses the connection, returns and resumes.
        dag.send(encoded({"type": "part", "room": "engine-room"}))
        dag.close()
        cleo.send(self._say("Cleo") + self._whisper("Cleo", "Dag"))
        self._arrive("Dag", resume={"log": self._log_of("Dag"), "rooms": {"lobby": 3}}).send(self._say("Dag"))
        self._connect_stranger(frame("Eve") + b"no frame at all")
        self._connect_stranger(b"\x01\x02garbage....")
        self._connect_stranger(b"7  ").finish()
        self._connect_stranger(b"12")  # incomplete until the login deadline, after 10 s
        self._connect_stranger(encoded({"type": "hello", "version": 2}, {"type": "bye"}))
        world.pass_time(1)
        ben.send(self._line("Ben"))
        ben.finish()
        cleo.send(encoded({"type": "bye"}))
        ann.send(self._line("Ann"))
        world.pass_time(15)

    def run_web(self) -> None:
        """Run the conversation with two browsers, one client of each other protocol, and a visitor."""
        world = self.world
        ann, cleo, hal, ida = map(self._arrive, ("Ann", "Cleo", *_WEB))
        self._visit()
        world.pass_time(2)
        whole = self._say("Hal")
        hal.send(whole[: len(whole) // 2])
        hal.send(whole[len(whole) // 2 :] + self._in_fragments("Hal"))
        ann.send(self._line("Ann"))
        ida.send(masked(PING, b"?") + self._say("Ida") + self._whisper("Ida", "Hal"))
        ida.reads = False
        for _ in range(2):
            cleo.send(self._say("Cleo", size=self._large))
            hal.send(self._say("Hal", size=self._large))
        ida.send(masked(PING, b"x" * 125) + self._say("Ida"))
        ida.reads = True
        world.pass_time(0.5)
        ida.close()
        cleo.send(self._say("Cleo") + self._whisper("Cleo", "Ida"))
        self._arrive("Ida", resume={"log": self._log_of("Ida"), "rooms": {"lobby": 3}}).send(self._say("Ida"))
        hal.send(self._say("Hal") + closing(1001))
        self._arrive("Hal").send(masked(TEXT, b"\xff"))
        world.pass_time(40)  # long enough for a ping to the remaining client

    def goodbye(self) -> None:
        """Close all connections, and let the server notice it."""
        people = [peer for peers in self._people.values() for peer in peers]
        for peer in people + self._others + self._visitors:
            peer.close()
        self.world.pass_time(60)

    def two_can_talk(self) -> None:
        """Fail if a new classic client and a new selchat client do not get each other's messages."""
        fay, gus = self.world.connect(), self.world.connect()
        self._others += (fay, gus)
        fay.send(frame("Fay"))
        gus.send(encoded(greeting("Gus"), {"type": "say", "room": "lobby", "id": "G", "body": "Gus is here"}))
        fay.send(frame("so is Fay"))
        self.world.pass_time(1)
        frames = self._frames(fay)
        assert b"Gus is here" in frames, f"Fay got {frames}"
        texts = [json.loads(one).get("body") for one in self._frames(gus)]
        assert "so is Fay" in texts, f"Gus got {texts}"

    def check(self) -> None:
        """Fail if a peer got an invalid frame, or a message twice, out of order or changed."""
        acked: dict[tuple[str, int], str] = {}
        for name in (*_SELCHAT, *_WEB):
            for peer in self._people.get(name, ()):
                self._check_selchat(name, peer, acked)
        for name in _CLASSIC:
            for peer in self._people.get(name, ()):
                self._check_classic(name, peer)
        for peer in self._others:
            self._frames(peer)
        for peer in self._visitors:
            self._check_visitor(peer)

    def transcripts(self) -> list[dict[str, list[str]]]:
        """Return the messages that each peer received, in order for each room, without ids and times."""
        transcripts: list[dict[str, list[str]]] = []
        for name, peers in self._people.items():
            for peer in peers:
                by_room: dict[str, list[str]] = {}
                for payload in self._payloads(name, peer):
                    if name not in _CLASSIC:
                        fields = json.loads(
                            re.sub(rb'("at":)[\d.]+|("(?:log|\w*salt)":)"[^"]+"', rb"\g<1>\g<2>0", payload)
                        )
                        key = f"{fields['type']} {fields.get('room') or fields.get('to', '')}"
                        by_room.setdefault(key, []).append(json.dumps(fields, sort_keys=True))
                    else:
                        by_room.setdefault("", []).append(payload.decode())
                transcripts.append(by_room)
        transcripts.append(
            {"": [payload.decode() for peer in self._others for payload in self._frames(peer)]}
        )
        transcripts += [
            {"": [f"{answer.status}" for answer in self._answers(peer)[0]]} for peer in self._visitors
        ]
        return transcripts

    # -- sending -----------------------------------------------------------------------------------

    def _arrive(self, name: str, **hello: Any) -> Peer:
        peer = self.world.connect(secure=self._secure)
        self._people.setdefault(name, []).append(peer)
        if name in _WEB:
            peer.send(opening())
        peer.send(frame(name) if name in _CLASSIC else self._encoded(name, greeting(name, **hello)))
        return peer

    def _visit(self) -> None:
        """Send the requests: two at once, one alone, and the others in pieces."""
        peer = self.world.connect(secure=self._secure)
        self._visitors.append(peer)
        peer.send(_ASKED[0][0] + _ASKED[1][0])
        peer.send(_ASKED[2][0])
        rest = b"".join(stream for stream, _ in _ASKED[3:])
        for start in range(0, len(rest), 1000):
            peer.send(rest[start : start + 1000])

    def _connect_stranger(self, data: bytes) -> Peer:
        peer = self.world.connect()
        self._others.append(peer)
        peer.send(data)
        return peer

    def _line(self, name: str, size: int = 0) -> bytes:
        return frame(self._words(name, size))

    def _say(self, name: str, room: str = "lobby", size: int = 0) -> bytes:
        words = self._words(name, size)
        return self._encoded(name, {"type": "say", "room": room, "id": f"{name}-{self._said}", "body": words})

    def _in_fragments(self, name: str) -> bytes:
        words = self._words(name, 0)
        message = {"type": "say", "room": "lobby", "id": f"{name}-{self._said}", "body": words}
        payload = json.dumps(message).encode()
        return masked(TEXT, payload[:9], fin=False) + masked(PING) + masked(CONT, payload[9:])

    def _whisper(self, name: str, to: str) -> bytes:
        words = self._words(name, 0)
        return self._encoded(name, {"type": "whisper", "to": to, "id": f"{name}-{self._said}", "body": words})

    def _encoded(self, name: str, *messages: dict[str, Any]) -> bytes:
        """Return the messages in the protocol of that user."""
        return texts(*messages) if name in _WEB else encoded(*messages)

    def _words(self, name: str, size: int) -> str:
        self._said += 1
        return f"{name} says {self._said}".ljust(size, ".")

    def _log_of(self, name: str) -> str:
        for payload in self._payloads(name, self._people[name][0]):
            fields = json.loads(payload)
            if fields["type"] == "welcome":
                return str(fields["log"])
        return "none"

    # -- checks -----------------------------------------------------------------------------

    def _frames(self, peer: Peer) -> list[bytes]:
        payloads, rest = frames(peer.received)
        assert not rest or peer.ended or peer.closed, f"half a frame: {rest[:60]!r}"
        return payloads

    def _payloads(self, name: str, peer: Peer) -> list[bytes]:
        """Return the payloads that the peer received, in any protocol."""
        if name not in _WEB:
            return self._frames(peer)
        found, rest = answers(peer.received)
        assert [answer.status for answer in found] in ([101], []), found
        if not found:
            assert peer.ended or peer.closed
            return []
        frames, rest = server_frames(rest)
        assert not rest or peer.ended or peer.closed, f"half a frame: {rest[:60]!r}"
        ends = [place for place, (opcode, _) in enumerate(frames) if opcode == CLOSE]
        assert ends in ([], [len(frames) - 1]), "data after the close"
        return [payload for opcode, payload in frames if opcode == TEXT]

    def _answers(self, peer: Peer) -> tuple[list[Answer], bytes]:
        return answers(peer.received, "GET", "HEAD")

    def _check_visitor(self, peer: Peer) -> None:
        found, rest = self._answers(peer)
        assert [answer.status for answer in found] == [status for _, status in _ASKED][: len(found)]
        assert peer.ended or peer.closed or not rest
        if len(found) == len(_ASKED):
            assert peer.ended

    def _check_classic(self, name: str, peer: Peer) -> None:
        payloads = self._frames(peer)
        if not peer.ended and not peer.closed:
            assert len(payloads) % 2 == 0
        last: dict[str, int] = {}
        for user, body in zip(payloads[::2], payloads[1::2], strict=False):
            author, text = user.decode(), body.decode()
            if author == "Server":
                continue
            number = self._number(author, text)
            assert author != name
            assert number > last.get(author, 0), f"{name} was sent {number} of {author} after {last[author]}"
            last[author] = number

    def _check_selchat(self, name: str, peer: Peer, known: dict[tuple[str, int], str]) -> None:
        newest: dict[str, int] = {}  # seq by room
        for payload in self._payloads(name, peer):
            fields = json.loads(payload)
            kind = fields["type"]
            if kind in {"said", "whispered"}:
                room = fields["room"] if kind == "said" else f"@{fields['to']}"
                self._number(fields["from"], fields["body"])
                text = f"{fields['from']}: {fields['id']}" if "id" in fields else ""
            elif kind == "ack" and fields["seq"]:
                room = fields.get("room") or f"@{fields['to']}"
                text = f"{name}: {fields['id']}"
            else:
                continue
            place = room.casefold(), fields["seq"]
            assert known.setdefault(place, text) == text, f"{place} is {known[place]} and {text}"
            if kind == "said":
                # A user's own messages are acknowledged and not sent, so the seq of others may have gaps.
                assert fields["seq"] > newest.get(room, 0), f"{name} was sent {place} after {newest[room]}"
                newest[room] = fields["seq"]

    def _number(self, author: str, text: str) -> int:
        match = _BODY.fullmatch(text)
        assert match and match[1] == author, f"{author} has never said {text[:60]!r}"
        return int(match[2])
