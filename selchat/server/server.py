"""The server: puts reactor, hub, sessions and console together; the one place that sees everything."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from selchat import __version__
from selchat.addresses import is_loopback, join_address
from selchat.auth.login import Authenticator
from selchat.auth.password import PasswordHash
from selchat.auth.tokens import TokenFile
from selchat.chat.commands import Commands
from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.config.settings import MIB, Settings
from selchat.config.sources import ConfigurationError, reload_settings
from selchat.errors import (
    BannedError,
    MissingExtraError,
    SelchatError,
    SettingError,
    UsageError,
    close_reason,
)
from selchat.log.errors import UnusableHistoryError
from selchat.log.memory import MemoryLog
from selchat.log.port import Log, NotReadableError
from selchat.log.retention import Retention
from selchat.net.admission import AddressFullError, AddressRateError, Admission, ServerFullError
from selchat.net.certificate import (
    CertificateError,
    own_names,
)
from selchat.net.connection import Connection
from selchat.net.fanout import Fanout
from selchat.net.host_allowlist import HostAllowlist
from selchat.net.interfaces import own_addresses, reachable_addresses
from selchat.net.listener import (
    Listener,
    listening_socket,
    raise_descriptor_limit,
)
from selchat.net.memory_limit import MemoryLimit
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter
from selchat.net.thread_pool import ThreadPool
from selchat.net.tls_config import open_tls
from selchat.server.console import Console, JsonStyle, Style, TextStyle
from selchat.server.metrics import Readings, render
from selchat.server.startup import page_addresses, picture
from selchat.sessions.context import Context, HttpSessionFactory
from selchat.sessions.detect import DetectSession
from selchat.sessions.http.api import MessageApi
from selchat.sessions.http.security_txt import security_txt
from selchat.sessions.http.static import Files, Operations, Site
from selchat.wire.cipher import CaesarCipher
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import DecimalHeaders
from selchat.wire.responses import SelchatFormat

if TYPE_CHECKING:
    from selchat.sessions.http.session import HttpSession

from selchat.errors import RefusalError


class TlsRequiredError(RefusalError):
    code = "tls-required"
    text = "this server takes only encrypted connections (TLS)"


# Why a connection is refused, as the metrics call it.
_REASONS: dict[type[SelchatError], str] = {
    BannedError: "banned",
    ServerFullError: "full",
    AddressFullError: "address-full",
    AddressRateError: "address-rate",
}

# How a connection talks, as the metrics call it: it has not said anything yet, it is in the chat by one of
# three wires, it asks for something by HTTP, or it has been told its last words.
_WIRES = ("opening", "classic", "selchat", "web", "http", "closing")

_STDIN, _STDOUT = 0, 1
_OUTPUT_LIMIT = MIB  # bytes of lines that wait for a terminal that takes none
_BUDGET_PAUSE = 0.25  # seconds between two looks at how much waits for everyone; one costs 1 ms for 1,000
_FORGET_PAUSE = 0.02  # seconds between two steps of forgetting
_PASSWORD_SECONDS = 1.0  # for passwords that are being checked when the server ends
_SHUTDOWN = Farewell("shutdown", "", "server shut down", 1.0)


# What a server is built with: a change of these needs another one.
_FIXED = frozenset(
    {
        *("host", "port", "backlog", "accept_batch", "accept_pause", "header_length", "key"),
        *("history", "frame_limit", "name_length", "feed_limit", "dead_seconds", "rooms_limit", "log_limit"),
        *("roster_limit", "password_workers", "password_queue"),
    }
)


class ServerState(Enum):
    """``SERVING`` becomes ``STOPPING``, in which everything is flushed, and then ``STOPPED``."""

    SERVING = auto()
    STOPPING = auto()
    STOPPED = auto()


class CannotStartError(UsageError):
    """``why``: what the system does not give."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"cannot start: {self.why}"


class Server:
    """A server on one address.

    `CannotListenError` when it cannot have it, `CannotStartError` when the system does not give what any
    server needs, `SettingError` for a bad key, `CertificateError`.

    ``load`` returns the settings that it should have now, or raises `ConfigurationError`.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings] | None = None) -> None:
        cipher = CaesarCipher(settings.key) if settings.key else None
        self._page = _open_page()
        self._tls = open_tls(settings)
        self._log = _open_log(settings)
        try:
            sock = listening_socket(settings.host, settings.port, settings.backlog, settings.dead_seconds)
        except BaseException:
            self._log.close()
            raise
        self._settings = settings
        self._load = load or (lambda: settings)
        self._state = ServerState.SERVING
        self._started = time.time()
        self._refused = Counter(dict.fromkeys(_REASONS.values(), 0))  # connections, by reason
        self._exit_status = 0
        try:
            self._reactor = reactor = Reactor(self._failed)
        except OSError as error:
            sock.close()
            self._log.close()
            raise CannotStartError(close_reason(error)) from error
        self._output = LineWriter(
            reactor,
            _STDOUT,
            _OUTPUT_LIMIT,
            lambda count: _style(self._settings).warning(
                f"{count} lines are not shown here, because the output was held up"
            ),
        )
        self._console = Console(self._output.write, _style(settings), settings.quiet)
        try:
            self._hub = Hub(settings, self._log, reactor, self._console, on_error=self._failed)
        except NotReadableError as error:
            sock.close()
            reactor.close()
            self._output.close(within=0)
            self._log.close()
            raise UnusableHistoryError(Path(str(settings.history)), error.why) from error
        commands = Commands(self._hub, self.stop)
        self._console.take_commands(commands)
        self._input = LineReader(
            reactor,
            _STDIN,
            settings.payload_limit,
            on_line=self._console.typed,
            on_end=lambda: None,
            on_too_long=lambda _: self._console.warn(
                f"a line of over {settings.payload_limit} bytes was not sent"
            ),
        )
        self._workers = ThreadPool(reactor, settings.password_workers, settings.password_queue)
        rich = SelchatFormat(DecimalHeaders(settings.header_length))
        self._posting = MessageApi(settings, self._hub, reactor, rich, TokenFile(), self._console.warn)
        self._context = Context(
            settings,
            self._hub,
            reactor,
            self._console,
            ClassicFormat(settings.header_length, settings.payload_limit, cipher, settings.roster_limit),
            rich,
            commands.run_remote,
            f"selchat {__version__}",
            self._gate(),
            self._new_http_session(),
        )
        self._fanout = Fanout(settings.feed_limit)
        self._connections: dict[Connection, str] = {}  # and the host, for those that were admitted
        self._admission = Admission(
            settings.max_clients,
            settings.clients_per_address,
            settings.address_rate,
            lambda: reactor.now,
        )
        self._budget = MemoryLimit(settings.queued_limit)
        self._budget_due = 0.0  # on the reactor's clock: when to look at it again
        self._most_connections = _most_connections(settings)
        self._listener = Listener(
            reactor,
            sock,
            batch=settings.accept_batch,
            pause=settings.accept_pause,
            capacity=lambda: self._most_connections - len(self._connections),
            on_connection=self._accepted,
        )
        reactor.at_tick_end(self._end_tick)

    def run(self) -> int:
        """Serve until `stop` or a signal; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._reactor.on_signal(number, lambda number=number: self._signalled(number))
        if hasattr(signal, "SIGHUP"):
            # Who has it ignored, as nohup does, wants the server to outlive the terminal.
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            self._reactor.on_signal(signal.SIGHUP, self.reload if ignored else self._hung_up)
        self._console.listening(join_address(*self._listener.address))
        if self._tls is not None:
            self._console.identified(*self._tls.fingerprints)
        self._invite()
        self._forget()
        self._check_descriptors()
        try:
            self._reactor.run()
        finally:
            self._close()
        return self._exit_status

    def stop(self) -> None:
        """Take nobody more, tell everyone, and end when all has been sent, or after ``flush_seconds``."""
        if self._state is not ServerState.SERVING:
            return
        self._state = ServerState.STOPPING
        self._listener.close()
        self._input.close()
        self._hub.broadcast_notice("The server is shutting down.")
        self._hub.disconnect(self._hub.members(), _SHUTDOWN)
        for connection in tuple(self._connections):
            connection.close("server shut down")
        self._reactor.call_later(self._settings.flush_seconds, self._reactor.stop)
        self._stop_if_empty()

    def reload(self) -> None:
        """Take the settings that there should be now, as far as a running server can; the console says how.

        If anything is wrong with them, all stay as they are.
        """
        if self._state is not ServerState.SERVING:
            return
        try:
            wanted = self._load()
        except ConfigurationError as error:
            for mistake in error.mistakes:
                self._console.warn(f"the old settings stay: {mistake}")
            return
        settings, applied, pending = reload_settings(self._settings, wanted, _FIXED)
        try:
            tls = open_tls(settings)
        except UsageError as error:
            self._console.warn(f"the old settings stay: {error}")
            return
        before, self._tls = self._tls, tls
        self._take_settings(settings)
        self._console.reloaded(applied)
        shown = ("none", "none") if tls is None else tls.fingerprints
        if shown != (("none", "none") if before is None else before.fingerprints):
            self._console.identified(*shown)
        if pending:
            self._console.warn(f"only a restart changes {', '.join(pending)}")
        self._check_descriptors()

    # -- what an operator's programs ask -----------------------------------------------------------------

    def ready(self) -> tuple[int, str]:
        """Return whether someone who comes now can talk: the status of an answer, and why not in one line.

        If nothing can be stored, this has it tried again at the end of the tick: otherwise a server to which
        nobody is sent would never find out that it can.
        """
        if self._state is not ServerState.SERVING:
            return 503, "the server is shutting down"
        if self._hub.publisher.log_error is not None:
            self._hub.probe_log()
            return 503, str(self._hub.publisher.log_error)
        if self._admission.open >= self._settings.max_clients:
            return 503, str(ServerFullError(self._settings.max_clients))
        if len(self._connections) >= self._most_connections:
            return 503, f"no descriptors are left for more than {self._most_connections} connections"
        return 200, "ready"

    def metrics(self) -> bytes:
        """Return what Prometheus reads. It looks at every connection, which takes 1 ms for 10,000.

        Raises `MissingExtraError`.
        """
        hub, blocked = self._hub, self._fanout.blocked
        try:
            log_bytes = self._log.size
        except NotReadableError:
            log_bytes = None
        return render(
            Readings(
                version=__version__,
                start_time=self._started,
                connections=dict.fromkeys(_WIRES, 0) | Counter(map(self._wire_of, self._connections)),
                accepted=self._listener.accepted,
                refused=self._refused,
                members=len(hub.members()),
                rooms=len(hub.rooms),
                messages=hub.publisher.message_count,
                deliveries=hub.publisher.delivery_count,
                lagging_readers=len(blocked),
                lapped_readers=self._fanout.lapped + self._budget.lapped,
                queued_bytes=self._budget.queued(blocked),
                loop_lag=self._reactor.lag,
                commits=self._log.commit_seconds,
                commits_failed=hub.publisher.failed_commits,
                log_bytes=log_bytes,
            )
        )

    def security_txt(self) -> str | None:
        """Return what is given out at /.well-known/security.txt; None: nothing."""
        return security_txt(self._settings.security_contact, self._started)

    # ----------------------------------------------------------------------------------------------------

    def _wire_of(self, connection: Connection) -> str:
        """Return how that connection talks, for the metrics."""
        handler = connection.handler
        return "closing" if handler is None else handler.wire_name

    def _take_settings(self, settings: Settings) -> None:
        """Go by these: the hub and the console at once, connections from the next one on."""
        changed = settings.password != self._settings.password
        self._settings = settings
        authenticator = self._gate() if changed else self._context.authenticator
        self._context = replace(
            self._context,
            settings=settings,
            authenticator=authenticator,
            new_http_session=self._new_http_session(),
        )
        self._hub.reconfigure(settings)
        self._posting.reconfigure(settings)
        self._console.restyle(_style(settings), settings.quiet)
        self._log.set_retention(Retention.parse(settings.retention))
        self._admission.set_limits(settings.max_clients, settings.clients_per_address, settings.address_rate)
        self._budget.limit = settings.queued_limit
        self._most_connections = _most_connections(settings)

    def _invite(self) -> None:
        """Tell what to open in a browser."""
        if self._context.new_http_session is None:
            self._console.no_page(str(MissingExtraError("h11", "web")))
            return
        settings, (host, port) = self._settings, self._listener.address
        hosts = reachable_addresses(host)
        listens = ipaddress.ip_address(host.partition("%")[0])
        local = listens.is_loopback or listens.is_unspecified
        addresses = page_addresses(hosts, port, tls=self._tls is not None, local=local)
        code: list[str] = []
        if hosts and not settings.quiet and settings.log_format == "text" and os.isatty(_STDOUT):
            code = picture(addresses[0], *os.get_terminal_size(_STDOUT))
        self._console.invited(addresses, code)

    def _check_descriptors(self) -> None:
        if self._most_connections < self._settings.max_clients:
            self._console.warn(
                f"the limit of open files (ulimit -n) is enough for {self._most_connections} connections, "
                f"not for {self._settings.max_clients}"
            )

    def _hung_up(self) -> None:
        """Our terminal is gone, or somebody wants the settings read again."""
        if self._input.hung_up:
            self.stop()
        else:
            self.reload()

    def _accepted(self, sock: socket.socket, host: str, port: int) -> None:
        settings = self._settings
        refusal: SelchatError | None = None
        try:
            self._hub.moderation.check_address(host)
        except BannedError as error:
            refusal = error
        else:
            refusal = self._admission.admit(host)
        if refusal is not None:
            self._refused[_REASONS[type(refusal)]] += 1
        if isinstance(refusal, AddressRateError):
            # Without a word: to wait until each of so many has spoken would hold what others need.
            sock.close()
            self._console.closed_before_login(join_address(host, port), str(refusal))
            return
        connection = Connection(
            self._reactor,
            self._fanout,
            sock,
            join_address(host, port),
            read_size=settings.read_size,
            replies_limit=settings.replies_limit,
            flush_seconds=settings.flush_seconds,
            linger_seconds=settings.linger_seconds,
            on_closed=self._closed,
            tls=None if self._tls is None else self._tls.context,
        )
        self._connections[connection] = "" if refusal else host
        local = is_loopback(host)
        unsecured = TlsRequiredError() if settings.tls == "require" and not local else None
        tls = self._tls is not None
        connection.open(DetectSession(self._context, connection, refusal, unsecured, tls=tls, local=local))

    def _closed(self, connection: Connection) -> None:
        host = self._connections.pop(connection)
        if host:
            self._admission.release(host)
        self._stop_if_empty()

    def _end_tick(self) -> None:
        for feed in self._hub.publish():
            self._fanout.deliver(feed)
        if self._fanout.blocked and self._reactor.now >= self._budget_due:
            self._budget_due = self._reactor.now + _BUDGET_PAUSE
            self._budget.enforce(self._fanout.blocked)
        self._fanout.finish()

    def _gate(self) -> Authenticator | None:
        password = self._settings.password
        if not password:
            return None
        return Authenticator(PasswordHash.parse(password), self._workers, self._reactor, self._console)

    def _new_http_session(self) -> HttpSessionFactory | None:
        """Return what browsers get; None: what it needs is not installed."""
        page = self._page
        if page is None:
            return None
        settings, tls = self._settings, self._tls
        own = own_names()
        hosts = HostAllowlist(
            [
                *own,
                *(f"{name}.local" for name in own),
                *settings.allowed_host,
                *([] if tls is None else tls.names),
            ],
            own_addresses,
            lambda: self._reactor.now,
        )
        site = Site(
            page.files,
            page.format,
            self._posting,
            Operations(self.ready, self.metrics, self.security_txt),
            hosts.__contains__,
            *(("", "") if tls is None else tls.fingerprints),
        )
        return partial(page.session, site)

    def _forget(self) -> None:
        """Forget a little of what is past the retention, and go on soon if there is more."""
        if self._log.expire(time.time()):
            self._reactor.call_later(_FORGET_PAUSE, self._forget)
        else:
            self._reactor.call_later(self._settings.forget_interval, self._forget)
            try:
                self._hub.collect_garbage()
            except NotReadableError:
                pass  # the disk fails now, and may work the next time

    def _signalled(self, number: int) -> None:
        if self._state is ServerState.SERVING:
            self.stop()
        else:
            self._exit_status = 128 + number  # as shells report a process that a signal has ended
            self._reactor.stop()

    def _stop_if_empty(self) -> None:
        if self._state is ServerState.STOPPING and not self._connections:
            self._reactor.stop()

    def _close(self) -> None:
        self._state = ServerState.STOPPED
        self._listener.close()
        self._input.close()
        for connection in tuple(self._connections):
            connection.abort(ConnectionAbortedError(0, "server shut down"))
        self._workers.close(_PASSWORD_SECONDS)
        self._output.close(within=1.0)
        self._reactor.close()
        self._log.close()

    def _failed(self, where: str, error: Exception) -> None:
        self._console.failed(where, error)


class _Page(NamedTuple):
    """What does not change of that which browsers get. One format: those who share one share a feed."""

    session: type[HttpSession]
    format: SelchatFormat
    files: Files


def _open_page() -> _Page | None:
    """Return what browsers get; None: what it needs is not installed. Raises `CannotStartError`."""
    try:
        # Here, as the libraries for it are an extra.
        from selchat.sessions.http.session import HttpSession
        from selchat.wire.websocket import TextHeaders

        with suppress(ImportError):
            # Not when it is first asked for the metrics: for that, everyone would wait 40 ms.
            import prometheus_client  # noqa: F401
        return _Page(HttpSession, SelchatFormat(TextHeaders()), Files())
    except ImportError:
        return None
    except OSError as error:  # no descriptor is left to read them with
        raise CannotStartError(close_reason(error)) from error


def check_settings(settings: Settings) -> None:
    """Raise `SettingError` for what only those who use it can judge. Nothing is made or kept open."""
    if settings.key:
        CaesarCipher(settings.key)
    if settings.cert is not None:
        try:
            open_tls(settings)
        except CertificateError as error:
            raise SettingError("cert", settings.cert, f"good ({error})") from error
    Retention.parse(settings.retention, "retention")


def _style(settings: Settings) -> Style:
    return JsonStyle() if settings.log_format == "json" else TextStyle()


def _most_connections(settings: Settings) -> int:
    descriptors = raise_descriptor_limit(settings.max_clients + settings.reserved_descriptors)
    return max(1, descriptors - settings.reserved_descriptors)


def _open_log(settings: Settings) -> Log:
    if settings.history is None:
        return MemoryLog(settings.log_limit)
    from selchat.log.sqlite import SqliteLog  # here: a server without history needs no SQLite

    return SqliteLog(settings.history, Retention.parse(settings.retention))
