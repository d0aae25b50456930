"""A process of load generators: its members connect, talk, and check what they read. Knows no scenario.

It is told what to do by lines of JSON on standard input and answers each with one line on standard output;
while something takes long, lines with ``progress`` come before the answer. At the end of its input it
ends, so that it cannot outlive who started it, whatever that died of.

One epoll, read level-triggered: each ready socket costs one ``recv_into`` into a buffer that all share.
With 900 readers and chunks of 23 KB this must keep up with a server that does nothing but ``send``.

Members are in one room, or this worker's members are spread over rooms of its own, each with a transcript.

Several workers make one load in lockstep: the first is the hub, to which the others say when all of their
readers have everything, and which says when the next turn begins.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from selchat.bench.errors import HandshakeError
from selchat.bench.histogram import Histogram
from selchat.bench.system.proc import raise_descriptor_limit, received_segments
from selchat.bench.verify.transcript import BrokenFramingError, Reader, Tally, Transcript
from selchat.bench.wires.wires import LOBBY, WIRES, Receipts, Script, refusal_in
from selchat.errors import close_reason

_BUFFER = 256 * 1024  # bytes for one read
_CONNECTS = 32  # made before what is ready is read again
_PER_SOURCE = 20_000  # connections from one address; Linux has 28,232 ephemeral ports
_PROBE_SECONDS = 0.1
_STALLED_SECONDS = 10.0  # without a single delivery before a turn is given up
_DRAIN_SECONDS = 3.0  # for the last deliveries after an open loop
_JOIN_SECONDS = 30.0  # without anybody getting in before that is given up
_PROGRESS_SECONDS = 0.25
_SIGN_SECONDS = 10.0  # in which each member gives a sign of life; servers ask after 20
_CALLED = 100  # rooms of one caller: what a server allows a member to be in
_TINY = 4096  # bytes of receive buffer of a stalled reader: the server has to notice it soon

_IP_BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen by connect, so that all of them serve any source
_READ, _WRITE = 1, 4  # EPOLLIN, EPOLLOUT

_TURN, _END = b"t", b"e"  # on the links between workers, with a count of messages
_LINK = struct.Struct("=cQ")

_now = time.monotonic_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What this worker is. ``first``: the number of its first member among all workers'."""

    address: tuple[str, int]
    run: str  # with which the names begin
    first: int = 0
    readers: int = 0
    talkers: int = 0
    all_talkers: int = 0  # of all workers
    payload: int = 64  # bytes
    wire: str = "classic"
    rooms: tuple[str, ...] = (LOBBY,)  # over which the members are spread
    floor: bool = False  # the other end is the floor: no names, and the talker writes what it relays
    links: tuple[int, ...] = ()  # descriptors: to the hub, or from the hub to all others
    hub: bool = True
    source: bool = True  # bind to 127.0.x.x: the server is on loopback


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What was measured in one go. Counters that end in ``all`` go on from slice to slice."""

    seconds: float = 0.0
    sent: int = 0
    deliveries: int = 0
    reads: int = 0
    bytes: int = 0
    cpu: float = 0.0  # seconds of this process
    segments: int = 0  # data segments that one reader got, and their bytes
    segment_bytes: int = 0
    latencies: dict[str, Any] = field(default_factory=dict)  # of each delivery
    last: dict[str, Any] = field(default_factory=dict)  # until the last reader had it
    late: dict[str, Any] = field(default_factory=dict)  # how far sending was behind its own schedule
    timeline: list[tuple[float, float, int, float]] = field(default_factory=list)
    acked: int = 0  # messages of which the author was told that they are stored
    acks: dict[str, Any] = field(default_factory=dict)  # latencies of that
    lives: int = 0
    refused: int = 0
    failure: str | None = None
    sent_all: int = 0
    lost_all: int = 0
    duplicated_all: int = 0
    reordered_all: int = 0
    diverged_all: int = 0
    misnumbered_all: int = 0
    acks_lost_all: int = 0
    acks_duplicated_all: int = 0
    acks_wrong_all: int = 0


class ServerUnavailableError(Exception):
    """The server has closed a connection, or cannot be reached."""


class Room:
    """A room of this worker's, with its talkers here."""

    __slots__ = ("began", "name", "talkers", "transcript", "waiting")

    def __init__(self, name: str, transcript: Transcript) -> None:
        self.name = name
        self.transcript = transcript
        self.talkers: list[Member] = []
        self.began = 0  # nanoseconds: when its present turn did
        self.waiting = False  # for the end of that turn

    @property
    def settled(self) -> bool:
        """Whether every reader has everything, and every talker its acks."""
        return not self.transcript.lagging and not any(
            talker.receipts is not None and talker.receipts.waiting for talker in self.talkers
        )


class Member(Reader):
    """One connection. ``script`` if it talks, and ``receipts`` if it is told what became of that."""

    __slots__ = (
        "fd",
        "greeting",
        "name",
        "out",
        "proven",
        "receipts",
        "receive_into",
        "room",
        "script",
        "sock",
        "started",
        "why",
        "writing",
    )

    def __init__(self, sock: socket.socket, name: bytes, room: Room, script: Script | None) -> None:
        super().__init__()
        self.room = room
        self.receipts: Receipts | None = None
        self.sock = sock
        self.fd = sock.fileno()
        self.name = name
        self.script = script
        self.greeting = b""  # what it says once the other end has answered the opening
        self.out = b""  # not yet taken by the socket
        self.writing = False  # watched for writability
        self.proven = False  # has got something that only a member gets
        self.started = 0  # nanoseconds: when it began to connect; 0 once it is connected
        self.why = ""  # what sending has failed with
        self.receive_into = sock.recv_into


class Worker:
    """Runs the commands. ``control``: the descriptors of its standard input and output."""

    def __init__(self, job: Job, control: tuple[int, int] = (0, 1)) -> None:
        self._job = job
        self._run = job.run.encode()
        self._epoll = select.epoll()
        self._view = memoryview(bytearray(_BUFFER))
        self._input, self._output = control
        self._typed = b""
        self._commands: deque[dict[str, Any]] = deque()
        self.ended = False  # nobody is left to work for
        self._stopping = False
        self._members: dict[int, Member] = {}
        self._wire = WIRES[job.wire]
        self._framing = self._wire.framing
        self._talkers: list[Member] = []
        # Who says where all transcripts begin, and in which rooms. On the classic wire it gives proof too.
        self._callers: dict[Member, tuple[str, ...]] = {}
        self._tally = Tally()
        self._rooms = [Room(name, Transcript(self._run, self._wire, self._tally)) for name in job.rooms]
        self._transcript = self._rooms[0].transcript  # of the only room, where there is but one
        self._links = [socket.socket(fileno=fd) for fd in job.links]
        self._turns = 0  # words of others that everybody there has everything
        self._agreed = 0  # how many of these have been used
        self._ends: int | None = None  # messages in all, once the hub has said that it sends no more
        self._take: Callable[[Member, memoryview, int], None] = self._transcript.receive
        self._marker = self._run + b"-start-"
        self._unproven = 0
        self._unsynced = 0
        self._connecting = 0
        self._handshakes = Histogram()
        self._refused = 0
        self._stalled: list[socket.socket] = []
        self._next_progress = 0.0
        self._silent: list[Member] = []  # who have not given a sign in this round
        self._signed_at = time.monotonic()
        self._slice = Measurement()
        self._sent = 0  # messages of this worker, ever
        self._expected = 0  # messages of all workers, ever, as far as this one knows
        self._timeline_from = 0.0
        self._interval = 1.0
        self._interval_deliveries = 0
        self._latencies = Histogram()
        self._acks = Histogram()
        self._acked = 0  # acks, ever
        self._epoll.register(self._input, _READ)
        for link in self._links:
            link.setblocking(False)
            self._epoll.register(link.fileno(), _READ)

    def run(self) -> None:
        """Obey until the input ends."""
        while not self.ended:
            if not self._commands:
                self._turn(None)
                continue
            command = self._commands.popleft()
            self._stopping = False
            do = getattr(self, "do_" + command.pop("do"))
            try:
                answer = do(**command)
            except (ServerUnavailableError, BrokenFramingError) as error:
                answer = {"error": str(error)}
            self._say({"answer": answer})

    def close(self) -> None:
        """Give every descriptor back, but for the input and the output."""
        self.do_leave()
        for link in self._links:
            link.close()
        self._epoll.close()

    # -- commands ----------------------------------------------------------------------------------------

    def do_join(self, rate: float) -> dict[str, Any]:
        """Connect all members, until each has proof that it is in; ``rate`` a second, 0: at once.

        Proof in the selchat protocol is a welcome. On the classic wire it is a roster or the caller's probe: a
        server sends these to members only. The caller is one more connection of the hub; it talks from when
        the last name was written until all have heard it.
        """
        job = self._job
        total = job.readers + job.talkers
        self._unproven = 0 if job.floor else total
        self._take = self._transcript.receive if job.floor else self._wait_for_proof
        self._handshakes = Histogram()
        begun = last_news = time.monotonic()
        cpu = time.process_time()
        next_probe = 0.0
        opened = probes = unproven = 0
        # For the floor the first connection is the talker.
        order = [*range(job.readers, total), *range(job.readers)] if job.floor else range(total)
        if job.hub and not job.floor:
            for number in range(0, len(self._rooms), _CALLED):
                self._call_from(total + 1 + number // _CALLED, self._rooms[number : number + _CALLED])
        while not self._stopping and not self.ended:
            now = time.monotonic()
            due = total if not rate else min(total, 1 + int((now - begun) * rate))
            for number in order[opened : min(due, opened + _CONNECTS)]:
                script = None
                if number >= job.readers:
                    script = self._wire.script(
                        self._name(number), job.payload, job.floor, self._room(number).name
                    )
                self._open(number, script)
                opened += 1
            connecting = opened < total or self._connecting > 0
            if not connecting:
                if not self._unproven:
                    break
                if self._callers and not self._wire.acks and now >= next_probe:
                    next_probe = now + _PROBE_SECONDS
                    probes += 1
                    for caller in self._callers:
                        self._send(caller, self._wire.say(self._run + b"-probe-"))
            self._turn(0.0 if opened < due else 0.01 if connecting else _PROBE_SECONDS / 4)
            if self._unproven + self._refused != unproven or opened < total:
                unproven, last_news = self._unproven + self._refused, now
            elif now - last_news > _JOIN_SECONDS:
                raise ServerUnavailableError(f"{self._unproven} of {total} connections got no sign of being let in")
            self._progress({"done": total - self._unproven, "of": total})
        return {
            "seconds": time.monotonic() - begun,
            "cpu": time.process_time() - cpu,
            "joined": len(self._members) - len(self._callers) - self._unproven,
            "refused": self._refused,
            "probes": probes,
            "handshakes": self._handshakes.to_json(),
        }

    def do_call(self) -> dict[str, Any]:
        """Have the callers say where all transcripts begin."""
        for caller, rooms in self._callers.items():
            self._send(caller, b"".join([self._wire.say(self._marker, room) for room in rooms]))
        return {}

    def do_prepare(self) -> dict[str, Any]:
        """Get ready for the caller's word; the answer means that it may be said."""
        if self._job.floor:
            self._unsynced = 0
        else:
            self._unsynced = len(self._members) - len(self._callers)
            self._take = self._wait_for_start
        return {}

    def do_sync(self) -> dict[str, Any]:
        """Wait until everyone has heard the callers, let them leave, and check everything from there on."""
        deadline = time.monotonic() + _JOIN_SECONDS
        while self._unsynced and not self._stopping and not self.ended:
            self._turn(0.1)
            if self._slice.failure is not None:
                raise ServerUnavailableError(self._slice.failure)
            if time.monotonic() > deadline:
                raise ServerUnavailableError(f"{self._unsynced} members did not get what was said to all")
        for caller in self._callers:
            self._leave(caller)
        self._callers.clear()
        members = list(self._members.values())
        for member in members:
            transcript = member.room.transcript
            if member.script is None:
                transcript.add(member)
                continue
            self._talkers.append(member)
            member.room.talkers.append(member)
            if self._job.floor:
                continue  # nothing is sent back to it
            member.receipts = Receipts(self._framing) if self._wire.acks else None
            transcript.add(member, member.name, member.receipts)
        self._take = self._receive if self._wire.acks else self._transcript.receive
        for member in members:
            data, member.ahead = member.ahead, b""
            self._take(member, memoryview(data), _now())
        gc.collect()
        gc.freeze()  # a collection that visits 10,000 members would be a stall of our own making
        return {}

    def do_closed(self, seconds: float, window: int, interval: float, turns: int = 0) -> dict[str, Any]:
        """Closed loop: every talker says ``window`` messages, and again when everybody has got them all.

        For so many seconds, and ``turns`` at least.
        """
        transcript = self._transcript
        last = Histogram()
        self._begin(interval)
        deadline = time.monotonic() + seconds
        going = True
        while going:
            transcript.aim(window * self._job.all_talkers)
            self._expected += window * self._job.all_talkers
            stamps = []
            for talker in self._talkers:
                stamps.append(stamp := _now())
                self._say_more(talker, window, stamp)
            if not self._wait(lambda: not transcript.lagging, _STALLED_SECONDS):
                break
            done = _now()
            if self._wire.acks and not self._wait(self._acknowledged, _STALLED_SECONDS):
                break
            turns -= 1
            going = self._next_turn(turns > 0 or time.monotonic() < deadline)
            if self._links:
                done = _now()  # only now have the others everything too
            for stamp in stamps:
                last.add((done - stamp) // 1000, window)
            transcript.forget()
            self._tally.reached.clear()
        return self._finish(last=last)

    def do_rooms(self, seconds: float, window: int, interval: float, turns: int = 0) -> dict[str, Any]:
        """Closed loops, one for each room: its talkers say ``window`` messages each, and again when everybody
        there has got them all.

        Each room for so many seconds, and ``turns`` at least.
        """
        last = Histogram()
        self._begin(interval)
        reached = self._tally.reached
        reached.clear()
        deadline = time.monotonic() + seconds
        rooms = {room.transcript: room for room in self._rooms}
        left = dict.fromkeys(self._rooms, turns)  # turns that a room has to take yet

        def begin(room: Room) -> None:
            room.waiting = True
            room.transcript.aim(window * len(room.talkers))
            room.began = _now()
            for talker in room.talkers:
                self._say_more(talker, window, room.began)

        def settled() -> bool:
            while reached:
                room = rooms[reached.pop()]
                if not room.waiting or not room.settled:
                    continue  # its acks are yet to come: with the last of them it is here again
                room.waiting = False
                last.add((_now() - room.began) // 1000, window * len(room.talkers))
                room.transcript.forget()
                left[room] -= 1
                if self._stopping or (left[room] <= 0 and time.monotonic() >= deadline):
                    del left[room]
                else:
                    begin(room)
            return not left

        for room in self._rooms:
            begin(room)
        self._wait(settled, _STALLED_SECONDS)
        self._expected = self._sent
        return self._finish(last=last)

    def do_paced(self, seconds: float, rate: float, ramp: float, interval: float) -> dict[str, Any]:
        """Open loop: ``rate`` messages a second, rising to that over ``ramp`` seconds, whatever happens.

        Each is stamped with the time at which it should have been sent, so that a stall delays the
        messages after it in the figures as it would have in life (no coordinated omission).
        """
        late = Histogram()
        self._begin(interval)
        if not self._talkers and not self._job.hub:
            self._wait(lambda: self._ends is not None, math.inf)
        begun = time.monotonic()
        count = max(1, int(rate * (seconds - ramp / 2))) if self._talkers else 0
        number = 0
        due = begun + _intended(number, rate, ramp)
        while number < count and not self._stopping and not self.ended and self._slice.failure is None:
            now = time.monotonic()
            while due <= now and number < count:
                talker = self._talkers[number % len(self._talkers)]
                late.add(int((time.monotonic() - due) * 1e6))
                self._say_more(talker, 1, int(due * 1e9))
                number += 1
                due = begun + _intended(number, rate, ramp)
            self._turn(max(0.0, due - time.monotonic()), precise=True)
            self._transcript.forget()
            self._tick()
        self._expected += number
        if self._job.hub:
            for link in self._links:
                link.send(_LINK.pack(_END, self._expected))
        else:
            self._expected, self._ends = self._ends or 0, None
        transcript = self._transcript
        transcript.aim(self._expected - transcript.goal)
        self._wait(lambda: not transcript.lagging and self._acknowledged(), _DRAIN_SECONDS)
        self._tally.reached.clear()
        return self._finish(late=late)

    def do_rest(self, seconds: float) -> dict[str, Any]:
        """Only be there."""
        self._begin(seconds)
        deadline = time.monotonic() + seconds
        while not self._stopping and not self.ended and (left := deadline - time.monotonic()) > 0:
            self._turn(min(left, 0.25))
            self._tick()
            if self._slice.failure is not None:
                break
        return self._finish()

    def do_stall(self, count: int) -> dict[str, Any]:
        """Add that many members who never read. They are in when something has come for each of them."""
        job = self._job
        first = job.readers + job.talkers + 10
        for number in range(first, first + count):
            sock = self._socket(number)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY)
            sock.settimeout(_JOIN_SECONDS)
            try:
                sock.connect(job.address)
                self._shake(sock)
                sock.sendall(self._wire.hello(self._name(number)))
            except OSError as error:
                raise ServerUnavailableError(f"the server refuses connections: {error.strerror or error}") from None
            self._stalled.append(sock)
        return {}

    def do_stalled(self) -> dict[str, Any]:
        """Tell how many of the stalled have got something.

        That the server has closed one cannot be seen from here: its end comes after what is not read.
        """
        poll = select.poll()
        for sock in self._stalled:
            poll.register(sock, select.POLLIN)
        return {"in": len(poll.poll(0))}

    def do_unstall(self) -> dict[str, Any]:
        """Have the stalled leave."""
        for sock in self._stalled:
            sock.close()
        self._stalled.clear()
        return {}

    def do_churn(
        self, seconds: float, slots: int, messages: int, rate: float, interval: float
    ) -> dict[str, Any]:
        """Keep ``slots`` clients coming, saying so many messages and leaving; ``rate`` lives a second.

        A leaving client says so, or closes its sending side, and reads to the end, so that nothing can be
        lost by a reset. Each slot's sequence goes on from life to life, and the readers check it.
        """
        first = self._job.readers + self._job.talkers + 10
        names = [self._name(first + slot) for slot in range(slots)]
        scripts = [self._wire.script(name, self._job.payload) for name in names]
        hellos = [self._wire.hello(name) for name in names]  # one client for each slot, who comes again
        free = deque(range(slots))
        lives: dict[int, tuple[socket.socket, int]] = {}
        openings: dict[int, bytes] = {}  # by descriptor: what has come of the answer to the opening
        opening, farewell = self._framing.opening(self._job.address), self._framing.farewell
        refused = begun_lives = 0

        def talk(sock: socket.socket, slot: int) -> None:
            sock.settimeout(_DRAIN_SECONDS)
            sock.sendall(hellos[slot] + scripts[slot].say(messages, _now()) + farewell)
            self._sent += messages
            if not farewell:
                sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)

        self._begin(interval)
        begun = time.monotonic()
        deadline = begun + seconds
        patience = deadline + _DRAIN_SECONDS
        poll = select.epoll()
        self._epoll.register(poll.fileno(), _READ)
        while lives or not (self._stopping or time.monotonic() > deadline):
            now = time.monotonic()
            if self.ended or now > patience or self._slice.failure is not None:
                break
            due = int((now - begun) * rate) + 1 - begun_lives if rate else slots
            while free and due > 0 and now < deadline and not self._stopping:
                due -= 1
                slot = free.popleft()
                sock = self._socket(first + slot)
                sock.settimeout(_DRAIN_SECONDS)
                try:
                    sock.connect(self._job.address)
                    if opening:
                        sock.sendall(opening)
                        openings[sock.fileno()] = b""
                    else:
                        talk(sock, slot)
                except OSError as error:
                    sock.close()
                    self._fail(f"the server refuses connections: {close_reason(error)}")
                    break
                sock.setblocking(False)
                poll.register(sock.fileno(), _READ)
                lives[sock.fileno()] = (sock, slot)
                begun_lives += 1
            for fd, _ in poll.poll(0):
                sock, slot = lives[fd]
                try:
                    size = sock.recv_into(self._view)
                    if size and fd in openings:
                        openings[fd] += bytes(self._view[:size])
                        if self._framing.opened(openings[fd]) is not None:
                            del openings[fd]
                            talk(sock, slot)
                    if size:
                        continue
                    refused += fd in openings
                except BlockingIOError:
                    continue
                except HandshakeError as error:
                    self._fail(f"the server refuses connections: {error}")
                except OSError:
                    refused += 1
                openings.pop(fd, None)
                poll.unregister(fd)
                sock.close()
                del lives[fd]
                free.append(slot)
            self._turn(0.0 if free and not rate else 0.005)
            self._transcript.forget()
            self._tick()
        for sock, _ in lives.values():
            sock.close()
        self._epoll.unregister(poll.fileno())
        poll.close()
        self._transcript.aim(self._sent - self._transcript.goal)
        self._expected = self._sent
        self._wait(lambda: not self._transcript.lagging, _DRAIN_SECONDS)
        self._slice.lives = begun_lives - len(lives)
        self._slice.refused = refused
        return self._finish()

    def do_leave(self) -> dict[str, Any]:
        """Close every connection."""
        for member in list(self._members.values()):
            self._leave(member)
        self.do_unstall()
        return {}

    def do_stop(self) -> dict[str, Any]:
        """Nothing is under way that could be stopped."""
        return {}

    # -- sockets -----------------------------------------------------------------------------------------

    def _name(self, number: int) -> bytes:
        return self._run + b"%05d" % (self._job.first + number)

    def _socket(self, number: int) -> socket.socket:
        job = self._job
        family = socket.AF_INET6 if ":" in job.address[0] else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise ServerUnavailableError(f"no socket: {close_reason(error)}") from None
        if job.source:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.1.{1 + (job.first + number) // _PER_SOURCE}", 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _room(self, number: int) -> Room:
        """Return where that member is: talkers come after the readers, and both are spread over the rooms."""
        readers = self._job.readers
        return self._rooms[(number if number < readers else number - readers) % len(self._rooms)]

    def _call_from(self, number: int, rooms: list[Room]) -> None:
        caller = self._open(number, self._wire.script(self._name(number), 64), rooms)
        self._callers[caller] = tuple(room.name for room in rooms)

    def _open(self, number: int, script: Script | None, called: list[Room] | None = None) -> Member:
        sock = self._socket(number)
        sock.setblocking(False)
        if script is not None:
            # Room for a whole window: in the 16 KiB that a young connection has, it would go in parts.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        room = self._room(number)
        member = Member(sock, self._name(number), room, script)
        member.started = _now()
        self._connecting += 1
        error = sock.connect_ex(self._job.address)
        if error and error != 115:  # EINPROGRESS
            sock.close()
            raise ServerUnavailableError(f"the server cannot be reached: {os.strerror(error).lower()}")
        self._members[member.fd] = member
        self._epoll.register(member.fd, _READ)
        if not self._job.floor:
            rooms = tuple(one.name for one in called) if called else (room.name,)
            hello = self._wire.hello(member.name, () if rooms == (LOBBY,) else rooms)
            opening = self._framing.opening(self._job.address)
            member.greeting = hello if opening else b""
            self._send(member, opening or hello)
            if not member.out and not opening:
                self._connected(member)
        else:
            self._connected(member)
        return member

    def _connected(self, member: Member) -> None:
        self._handshakes.add((_now() - member.started) // 1000)
        member.started = 0
        self._connecting -= 1

    def _shake(self, sock: socket.socket) -> None:
        """Open what the frames go over, and wait for it. Raises `ServerUnavailableError` and `OSError`."""
        opening, answer = self._framing.opening(self._job.address), b""
        try:
            sock.sendall(opening)
            while opening and self._framing.opened(answer) is None:
                data = sock.recv(_TINY)
                if not data:
                    raise HandshakeError("connection closed")
                answer += data
        except HandshakeError as error:
            raise ServerUnavailableError(f"the server refuses connections: {error}") from None

    def _leave(self, member: Member) -> None:
        if self._framing.farewell and not (member.greeting or member.out or self._job.floor):
            with contextlib.suppress(OSError):
                member.sock.send(self._framing.farewell)
        self._close(member)

    def _close(self, member: Member) -> None:
        self._epoll.unregister(member.fd)
        del self._members[member.fd]
        member.sock.close()

    def _say_more(self, talker: Member, times: int, stamp: int) -> None:
        assert talker.script is not None
        data = talker.script.say(times, stamp)
        if talker.receipts is not None:
            talker.receipts.expect(talker.script.said, stamp)
        self._sent += times
        self._send(talker, data)

    def _send(self, member: Member, data: bytes) -> None:
        if member.out:
            member.out += data
            return
        try:
            sent = member.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            member.why = close_reason(error)  # reading ends it
            return
        if sent < len(data):
            member.out = data[sent:]
            if not member.writing:
                member.writing = True
                self._epoll.modify(member.fd, _READ | _WRITE)

    def _flush(self, member: Member) -> None:
        data, member.out = member.out, b""
        self._send(member, data)
        if not member.out and member.writing:
            member.writing = False
            self._epoll.modify(member.fd, _READ)
        if member.started and not member.greeting and len(member.out) < len(data):
            self._connected(member)

    def _turn(self, wait: float | None, precise: bool = False) -> None:
        """Wait for something to be ready, and read it."""
        members, take, view = self._members, self._take, self._view
        if precise and wait:
            # epoll waits in whole milliseconds, select in microseconds.
            select.select((self._epoll,), (), (), wait)
            wait = 0.0
        for fd, mask in self._epoll.poll(wait, 2048):
            member = members.get(fd)
            if member is None:
                self._other(fd)
                continue
            if mask & _WRITE:
                self._flush(member)
                if not mask & ~_WRITE:
                    continue
            try:
                size = member.receive_into(view)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(member, close_reason(error))
                continue
            if size:
                take(member, view[:size], _now())
            else:
                self._lose(member, "connection closed")
        if self._tally.pings:
            self._answer_pings()

    def _answer_pings(self) -> None:
        for reader, said in self._tally.pings:
            assert isinstance(reader, Member)
            if self._members.get(reader.fd) is reader:
                self._send(reader, self._framing.pong(said))
        self._tally.pings.clear()

    def _lose(self, member: Member, why: str) -> None:
        self._close(member)
        why = member.why or why
        if self._take == self._wait_for_proof:
            self._refused += 1
            self._connecting -= member.started > 0
            self._unproven -= not member.proven
            if member in self._callers or self._refused == self._job.readers + self._job.talkers:
                raise ServerUnavailableError(f"the server refuses connections: {why}")
        else:
            self._fail(f"the server has closed a connection: {why}")

    def _fail(self, why: str) -> None:
        if self._slice.failure is None:
            self._slice.failure = why

    def _other(self, fd: int) -> None:
        if fd == self._input:
            data = os.read(fd, 65536)
            *lines, self._typed = (self._typed + data).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["do"] == "stop":
                    self._stopping = True
                else:
                    self._commands.append(command)
            if not data:
                self.ended = True
        for link in self._links:
            if link.fileno() == fd:
                data = link.recv(_LINK.size)
                if not data:
                    self.ended = True
                    return
                kind, count = _LINK.unpack(data)
                if kind == _TURN:
                    self._turns += 1
                else:
                    self._ends = count

    # -- joining -----------------------------------------------------------------------------------------

    def _wait_for_proof(self, member: Member, data: memoryview, _now: int) -> None:
        if member.greeting:
            self._wait_for_opening(member, bytes(data))
            return
        if member.proven or member in self._callers:
            return
        text = member.ahead + bytes(data)
        if self._wire.proof(text):
            member.proven = True
            member.ahead = b""
            self._unproven -= 1
        else:
            member.ahead = text[-2 * len(self._marker) :]
            if self._wire.acks and (refusal := refusal_in(text)):
                raise ServerUnavailableError(f"the server lets nobody in: {refusal}")

    def _wait_for_opening(self, member: Member, data: bytes) -> None:
        member.ahead += data
        try:
            rest = self._framing.opened(member.ahead)
        except HandshakeError as error:
            self._lose(member, str(error))
            return
        if rest is not None:
            member.ahead = rest
            greeting, member.greeting = member.greeting, b""
            self._send(member, greeting)
            self._connected(member)

    def _wait_for_start(self, member: Member, data: memoryview, now: int) -> None:
        if member in self._callers:
            return
        if member.proven:
            text = member.ahead + bytes(data)
            rest = self._wire.after(self._marker, text)
            if rest is None:
                member.ahead = text if self._marker in text else text[-2 * len(self._marker) :]
                return
            member.proven = False  # and now it is synced
            self._unsynced -= 1
            member.ahead = rest
        else:
            member.ahead += bytes(data)

    # -- measuring ---------------------------------------------------------------------------------------

    def _receive(self, member: Member, data: memoryview, now: int) -> None:
        """Take what a member with acks has read: to whom talks, they come in between."""
        receipts = member.receipts
        if receipts is None:
            member.room.transcript.receive(member, data, now)
            return
        waiting = receipts.waiting
        stream = receipts.take(bytes(data), now, self._acks)
        if waiting != receipts.waiting:
            self._acked += waiting - receipts.waiting
            if not receipts.waiting:
                self._tally.reached.append(member.room.transcript)
        if receipts.refusal:
            self._fail(f"the server has refused a message: {receipts.refusal}")
        if stream:
            member.room.transcript.receive(member, memoryview(stream), now)

    def _acknowledged(self) -> bool:
        return not self._wire.acks or self._sent == self._acked or self._job.floor

    def _begin(self, interval: float) -> None:
        tally = self._tally
        tally.latencies = Histogram()
        self._latencies = Histogram()
        self._acks = Histogram()
        failure = self._slice.failure
        self._slice = Measurement(
            sent=self._sent,
            deliveries=tally.deliveries,
            reads=tally.reads,
            bytes=tally.bytes,
            acked=self._acked,
            cpu=time.process_time(),
            failure=failure,
        )
        self._slice.segment_bytes, self._slice.segments = self._segments()
        self._interval = interval
        self._slice.seconds = self._timeline_from = time.monotonic()
        self._interval_deliveries = tally.deliveries

    def _segments(self) -> tuple[int, int]:
        for member in self._members.values():
            if member.script is None:
                return received_segments(member.sock) or (0, 0)
        return 0, 0

    def _tick(self) -> None:
        """Close the interval if it is over, and tell how it goes."""
        now = time.monotonic()
        if now - self._timeline_from >= self._interval:
            self._close_interval(now)
        if self._wire.sign and not self._job.floor:
            self._give_signs(now)
        self._progress({"deliveries": self._tally.deliveries - self._slice.deliveries})

    def _give_signs(self, now: float) -> None:
        """Let members say that they are there: a few at a time, so that it is no burst of load."""
        count = int(len(self._members) * (now - self._signed_at) / _SIGN_SECONDS)
        if not count:
            return
        self._signed_at = now
        if not self._silent:
            self._silent = list(self._members.values())
            for sock in self._stalled:
                with contextlib.suppress(OSError):
                    sock.send(self._wire.sign)
        for member in self._silent[-count:]:
            if self._members.get(member.fd) is member:
                self._send(member, self._wire.sign)
        del self._silent[-count:]

    def _close_interval(self, now: float) -> None:
        tally = self._tally
        latencies, tally.latencies = tally.latencies, Histogram()
        seconds = now - self._timeline_from
        self._slice.timeline.append(
            (
                self._timeline_from,
                seconds,
                tally.deliveries - self._interval_deliveries,
                latencies.percentile(99),
            )
        )
        self._latencies.merge(latencies)
        self._timeline_from = now
        self._interval_deliveries = tally.deliveries

    def _finish(self, last: Histogram | None = None, late: Histogram | None = None) -> dict[str, Any]:
        now = time.monotonic()
        self._close_interval(now)
        measured, tally = self._slice, self._tally
        measured.cpu = time.process_time() - measured.cpu
        measured.seconds = now - measured.seconds
        measured.sent = self._sent - measured.sent
        measured.deliveries = tally.deliveries - measured.deliveries
        measured.reads = tally.reads - measured.reads
        measured.bytes = tally.bytes - measured.bytes
        size, segments = self._segments()
        measured.segment_bytes = size - measured.segment_bytes
        measured.segments = segments - measured.segments
        measured.latencies = self._latencies.to_json()
        measured.last = (last or Histogram()).to_json()
        measured.late = (late or Histogram()).to_json()
        measured.acked = self._acked - measured.acked
        measured.acks = self._acks.to_json()
        measured.sent_all = self._sent
        for room in self._rooms:
            transcript = room.transcript
            own = [] if self._job.floor else room.talkers
            said = {talker.name: talker.script.said for talker in own if talker.script is not None}
            sent = sum(said.values()) if len(self._rooms) > 1 else self._expected
            measured.lost_all += transcript.lost(sent, said)
            measured.duplicated_all += transcript.duplicated()
            measured.reordered_all += transcript.reordered()
            measured.diverged_all += transcript.diverged
            measured.misnumbered_all += transcript.misnumbered()
        for receipts in (talker.receipts for talker in self._talkers if talker.receipts is not None):
            measured.acks_lost_all += receipts.lost
            measured.acks_duplicated_all += receipts.duplicated
            measured.acks_wrong_all += receipts.wrong
        return asdict(measured)

    def _wait(self, done: Callable[[], bool], patience: float) -> bool:
        """Read until it is done; False: nothing came for so many seconds, or it makes no sense any more."""
        tally = self._tally
        news, heard = tally.deliveries + self._acked, time.monotonic()
        while not done():
            self._turn(0.1)
            self._tick()
            if self.ended or self._slice.failure is not None:
                return False
            if tally.deliveries + self._acked != news:
                news, heard = tally.deliveries + self._acked, time.monotonic()
            elif time.monotonic() - heard > patience:
                if patience == _STALLED_SECONDS:
                    self._fail(f"nothing was delivered for {patience:g} s")
                return False
            elif self._stopping and time.monotonic() - heard > 1.0:
                return False
        return True

    def _next_turn(self, wanted: bool) -> bool:
        """Agree with the other workers that all have everything; whether there is one more turn."""
        if not self._links:
            return wanted and not self._stopping
        if not self._job.hub:
            turns = self._turns + 1
            self._links[0].send(_LINK.pack(_TURN, 0))
            agreed = self._wait(lambda: self._turns >= turns or self._ends is not None, _STALLED_SECONDS)
            self._ends, ended = None, self._ends is not None
            return agreed and not ended
        self._agreed += len(self._links)
        agreed = self._wait(lambda: self._turns >= self._agreed, _STALLED_SECONDS)
        going = agreed and wanted and not self._stopping
        for link in self._links:
            link.send(_LINK.pack(_TURN if going else _END, self._expected))
        return going

    # -- talking to the parent ---------------------------------------------------------------------------

    def _progress(self, words: dict[str, Any]) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_SECONDS
            self._say({"progress": words})

    def _say(self, words: dict[str, Any]) -> None:
        data = json.dumps(words).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._output, data) :]
        except OSError:
            self.ended = True


def _intended(number: int, rate: float, ramp: float) -> float:
    """Return when message ``number`` is due, in seconds: the rate rises evenly over ``ramp`` seconds."""
    if number < rate * ramp / 2:
        return math.sqrt(2 * number * ramp / rate)
    return ramp / 2 + number / rate


def main() -> None:
    """Take the job, as JSON, as the only argument."""
    words = json.loads(sys.argv[1])
    raise_descriptor_limit()
    lists = {name: tuple(words[name]) for name in ("address", "links", "rooms") if name in words}
    job = Job(**{**words, **lists})
    worker = Worker(job)
    try:
        worker.run()
    finally:
        worker.close()


if __name__ == "__main__":
    main()
