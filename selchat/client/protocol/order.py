"""One room's messages in the order of their numbers, each once.

A room has no holes. What others say comes in order, but what one says oneself comes back as an ``ack``,
before or after its neighbours, and after a break some comes again. This file knows numbers and messages only.
"""

from __future__ import annotations

from selchat.client.events import Gap, Message

MAX_HELD = 4096  # messages that wait for one with a lower number
MAX_GAPS = 64  # that wait likewise
MAX_HELD_SIZE = 4 * 1024 * 1024  # characters of them


class InOrder:
    """Takes a room's messages as they come and gives them back in order.

    ``through`` is the number up to which all have been given back, or are known not to come; it is where to
    go on after a break.
    """

    def __init__(self, room: str, through: int) -> None:
        self._room = room
        self.through = through
        self._edge = through  # the largest number that the server has come to: it shows a room in order
        self._held: dict[int, Message] = {}
        self._size = 0  # characters held
        self._gaps: dict[int, int] = {}  # holes that were announced: the numbers before and after each

    def begin(self) -> None:
        """A new connection: what comes on it comes from ``through`` on."""
        self._edge = self.through

    def take(self, message: Message, *, acked: bool) -> None:
        """Take a message; one that was taken before is dropped. ``acked``: it is known from its ``ack``."""
        seq = message.seq
        if not acked:
            self._edge = max(self._edge, seq)
        if seq > self.through and seq not in self._held:
            self._held[seq] = message
            self._size += len(message.body)

    def take_gap(self, after: int, before: int) -> None:
        """Note that what is between the two will not come."""
        if before > self.through + 1 and before > after + 1:
            self._edge = max(self._edge, before - 1)
            self._gaps[after] = max(before, self._gaps.get(after, 0))

    def release(self, *, waiting: bool) -> list[Message | Gap]:
        """Return what is in order now. ``waiting``: an ``ack`` of this room may be on its way.

        What the server has come to is not held for a number that nothing can bring any more.
        """
        given: list[Message | Gap] = []
        while self._held or self._gaps:
            message = self._held.pop(self.through + 1, None)
            if message is not None:
                self._give(message, given)
            elif not self._pass_a_gap(given):
                lost = self.through < self._edge and not waiting
                full = len(self._held) > MAX_HELD or self._size > MAX_HELD_SIZE or len(self._gaps) > MAX_GAPS
                if not (lost or full):
                    break
                self._pass(min([*self._held, *(after + 1 for after in self._gaps)]), given)
        return given

    def restart(self, through: int) -> list[Message | Gap]:
        """Go on after that number, as the numbers begin anew; return what was held until now."""
        given: list[Message | Gap] = []
        for seq in sorted(self._held):
            self._pass(seq, given)
            self._give(self._held.pop(seq), given)
        self._gaps.clear()
        self.through = self._edge = through
        return given

    def _give(self, message: Message, given: list[Message | Gap]) -> None:
        self.through = message.seq
        self._size -= len(message.body)
        given.append(message)

    def _pass_a_gap(self, given: list[Message | Gap]) -> bool:
        """Pass the announced gap that is next, up to what is known in it; return whether there is one."""
        for after, before in self._gaps.items():
            if after <= self.through:
                inside = [seq for seq in self._held if self.through < seq < before]
                if not inside:
                    del self._gaps[after]
                self._pass(min(inside, default=before), given)
                return True
        return False

    def _pass(self, before: int, given: list[Message | Gap]) -> None:
        if before > self.through + 1:
            given.append(Gap(self._room, self.through, before))
            self.through = before - 1
