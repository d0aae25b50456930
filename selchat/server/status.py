"""Server status: readiness, and the figures for Prometheus.

Only reads the parts of a server. Knows nothing about HTTP.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from selchat import __version__
from selchat.chat.hub import Hub
from selchat.limits import KIB, READY_DISK
from selchat.log.port import NotReadableError, NotStoredError
from selchat.net.admission import Admission, ServerFullError
from selchat.net.connection import Connection
from selchat.net.fanout import Fanout
from selchat.net.listener import Listener
from selchat.net.memory_limit import MemoryLimit
from selchat.net.reactor import Reactor
from selchat.server.metrics import Readings, render
from selchat.sessions.http.security_txt import security_txt

# The wire formats by their names in the metrics. "opening": the client has sent nothing yet. "closing": the
# session has ended, and the connection still flushes.
_WIRES = ("opening", "classic", "selchat", "web", "http", "closing")


class Status:
    """Answers the operator's programs.

    ``connections``: the open connections. ``capacity()``: how many more connections the process has
    descriptors for. ``refused``: refused connections by reason. ``is_serving()``: False during the shutdown.
    ``security_contact``: the setting of that name.
    """

    def __init__(
        self,
        reactor: Reactor,
        hub: Hub,
        fanout: Fanout,
        memory_limit: MemoryLimit,
        admission: Admission,
        listener: Listener,
        *,
        connections: Collection[Connection],
        capacity: Callable[[], int],
        refused: Mapping[str, int],
        is_serving: Callable[[], bool],
        security_contact: str,
    ) -> None:
        self.security_contact = security_contact
        self._reactor = reactor
        self._hub = hub
        self._fanout = fanout
        self._memory_limit = memory_limit
        self._admission = admission
        self._listener = listener
        self._connections = connections
        self._capacity = capacity
        self._refused = refused
        self._is_serving = is_serving
        self._started_at = time.time()

    def ready(self) -> tuple[int, str]:
        """Return the HTTP status 200 if a new user can chat now, else 503; and the reason in one line.

        While the log fails, a call makes the hub write a test record at the end of the tick. Without that, a
        load balancer that sends no users would never learn that the log works again.
        """
        if not self._is_serving():
            return 503, "the server is shutting down"
        log = self._hub.log
        if self._hub.publisher.log_error is not None or not log.can_write:
            self._hub.probe_log()
            return 503, str(self._hub.publisher.log_error or NotStoredError("the history is not writable"))
        if log.free_disk is not None and log.free_disk < READY_DISK:
            return 503, f"the disk of the history is full: {log.free_disk // KIB} KiB are free"
        if self._admission.open >= self._admission.max_total:
            return 503, str(ServerFullError(self._admission.max_total))
        if self._capacity() <= 0:
            return 503, f"no file descriptors are left for more than {len(self._connections)} connections"
        return 200, "ready"

    def metrics(self) -> bytes:
        """Return the figures in the text format of Prometheus. Takes 1 ms per 10,000 connections.

        Raises `MissingExtraError`.
        """
        hub, blocked = self._hub, self._fanout.blocked
        try:
            log_bytes = hub.log.size
        except NotReadableError:
            log_bytes = None
        return render(
            Readings(
                version=__version__,
                start_time=self._started_at,
                connections=dict.fromkeys(_WIRES, 0) | Counter(map(_wire_name, self._connections)),
                accepted=self._listener.accepted,
                refused=self._refused,
                members=len(hub.members()),
                rooms=len(hub.rooms),
                messages=hub.publisher.message_count,
                deliveries=hub.publisher.delivery_count,
                lagging_readers=len(blocked),
                lapped_readers=self._fanout.lapped + self._memory_limit.lapped,
                queued_bytes=self._memory_limit.queued(blocked),
                loop_lag=self._reactor.lag,
                commits=hub.log.commit_seconds,
                commits_failed=hub.publisher.failed_commits,
                log_bytes=log_bytes,
            )
        )

    def security_txt(self) -> str | None:
        """Return the file /.well-known/security.txt; None if there is no security contact."""
        return security_txt(self.security_contact, self._started_at)


def _wire_name(connection: Connection) -> str:
    return "closing" if connection.handler is None else connection.handler.wire_name
