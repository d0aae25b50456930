"""What there is to complete with, of which the names of rooms are the server's to say.

It lives in the link's thread, and gives answers to another one.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Rooms
from selchat.client.terminal.completion import Known
from selchat.errors import SelchatError


class RoomNames:
    """Asks a link which rooms there are, and knows which of its answers the user has asked for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._questions: deque[Future[Known] | None] = deque()  # None: the user's
        self._rooms: tuple[str, ...] = ()  # that there were when the server last said it

    def look_up(self, rooms: bool, answer: Future[Known]) -> None:
        """Give ``answer`` what there is to complete with; for ``rooms``, when the server has answered."""
        if rooms and self._link.state is LinkState.ONLINE:
            try:
                self._link.get_rooms()
            except SelchatError:
                pass  # the paper's wire has none
            else:
                self._questions.append(answer)
                return
        self._give(answer)

    def asked(self) -> None:
        """Note that the user has asked which rooms there are."""
        self._questions.append(None)

    def take(self, rooms: Rooms) -> bool:
        """Take what the server says, and return whether that is for the user."""
        self._rooms = tuple(room.room for room in rooms.rooms)
        answer = self._questions.popleft() if self._questions else None
        if answer is None:
            return True
        self._give(answer)
        return False

    def lost(self) -> None:
        """Wait for no more answers."""
        questions, self._questions = self._questions, deque()
        for answer in questions:
            if answer is not None:
                self._give(answer)

    def _give(self, answer: Future[Known]) -> None:
        if answer.set_running_or_notify_cancel():  # else nobody waits for it any more
            rooms = dict.fromkeys((*self._link.rooms, *self._rooms))
            answer.set_result(Known(tuple(self._link.names), tuple(rooms)))
