"""Server: the composition root, which connects reactor, hub, sessions and console.

The only module that knows every part. It must not know how a part works.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from pathlib import Path

from selchat import __version__
from selchat.addresses import is_loopback, join_address
from selchat.auth.login import Authenticator
from selchat.auth.password import PasswordHash
from selchat.auth.tokens import TokenFile
from selchat.chat.commands import Commands
from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.config.settings import Settings
from selchat.config.sources import ConfigurationError, reload_settings
from selchat.errors import BannedError, RefusalError, SelchatError, UsageError, close_reason
from selchat.limits import (
    CERTIFICATE_CHECK_SECONDS,
    CONSOLE_LIMIT,
    EXPIRY_PAUSE,
    MEMORY_CHECK_SECONDS,
    PASSWORD_SHUTDOWN_SECONDS,
)
from selchat.log.disk_space import DiskSpace
from selchat.log.errors import UnusableHistoryError
from selchat.log.port import NotReadableError
from selchat.log.retention import Retention
from selchat.net.admission import AddressFullError, AddressRateError, Admission, ServerFullError
from selchat.net.certificate import own_names
from selchat.net.connection import Connection
from selchat.net.fanout import Fanout
from selchat.net.host_allowlist import HostAllowlist
from selchat.net.interfaces import own_addresses, reachable_addresses
from selchat.net.listener import Listener, listening_socket, raise_descriptor_limit
from selchat.net.memory_limit import MemoryLimit
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter
from selchat.net.thread_pool import ThreadPool
from selchat.net.tls_config import Fingerprints, TlsConfig, describe_change, open_tls
from selchat.quoting import quoted
from selchat.server.console import Console, JsonStyle, Style, TextStyle
from selchat.server.startup import CannotStartError, history_check, open_log, open_page, show_banner
from selchat.server.status import Status
from selchat.sessions.context import Context, HttpSessionFactory
from selchat.sessions.detect import DetectSession
from selchat.sessions.http.api import MessageApi
from selchat.sessions.http.static import Operations, Site
from selchat.sessions.work import WorkLimits
from selchat.wire.cipher import CaesarCipher
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import DecimalHeaders
from selchat.wire.responses import SelchatFormat


class TlsRequiredError(RefusalError):
    code = "tls-required"
    text = "this server takes only encrypted connections (TLS)"


# Why a connection is refused, by the names in the metrics.
_REASONS: dict[type[SelchatError], str] = {
    BannedError: "banned",
    ServerFullError: "full",
    AddressFullError: "address-full",
    AddressRateError: "address-rate",
}

SHUTDOWN = Farewell("shutdown", "", "server shut down", 1.0)
_NO_FINGERPRINTS = Fingerprints("none", "none")

# Settings that only a new server can change.
RESTART_ONLY = frozenset(
    {
        *("host", "port", "backlog", "accept_batch", "accept_pause", "header_length", "key"),
        *("history", "frame_limit", "name_length", "feed_limit", "dead_seconds", "rooms_limit", "log_limit"),
        *("roster_limit", "password_workers", "password_queue"),
    }
)


class ServerState(Enum):
    """``SERVING`` becomes ``STOPPING``, in which the server flushes its connections, and then ``STOPPED``."""

    SERVING = auto()
    STOPPING = auto()
    STOPPED = auto()


class Server:
    """A server on one address.

    ``load()`` returns the current settings for a reload, or raises `ConfigurationError`. ``stdin``,
    ``stdout``: descriptors of the operator's terminal. The other public attributes let a program drive the
    server tick by tick.

    Raises `CannotListenError` if the address is not available, `CannotStartError` if the system lacks a
    resource, `SettingError` for a bad key, `CertificateError`, `UnusableHistoryError`.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings] | None = None,
        *,
        stdin: int = 0,
        stdout: int = 1,
    ) -> None:
        cipher = CaesarCipher(settings.key) if settings.key else None
        self._page = open_page()
        self._tls = open_tls(settings)
        self._log = open_log(settings, self._warn)
        try:
            sock = listening_socket(settings.host, settings.port, settings.backlog, settings.dead_seconds)
        except BaseException:
            self._log.close()
            raise
        self._settings = settings
        self._load = load or (lambda: settings)
        self._state = ServerState.SERVING
        self._refused = Counter(dict.fromkeys(_REASONS.values(), 0))  # connections by reason
        self._exit_status = 0
        try:
            self.reactor = reactor = Reactor(self._on_error)
        except OSError as error:
            sock.close()
            self._log.close()
            raise CannotStartError(close_reason(error)) from error
        self._stdout = stdout
        self._output = LineWriter(
            reactor,
            stdout,
            CONSOLE_LIMIT,
            lambda count: _style(self._settings).warning(
                f"{count} lines were dropped because standard output was blocked"
            ),
        )
        self._console = Console(self._output.write, _style(settings), settings.quiet)
        try:
            self.hub = Hub(settings, self._log, reactor, self._console, on_error=self._on_error)
        except NotReadableError as error:
            sock.close()
            reactor.close()
            self._output.close(within=0)
            self._log.close()
            raise UnusableHistoryError(Path(str(settings.history)), error.why) from error
        # In the next tick, so that members get their farewell first.
        self.hub.moderation.on_ban = partial(reactor.call_soon, self._close_banned)
        commands = Commands(self.hub, self.stop, self._console.warn)
        self._console.set_commands(commands)
        self._input = LineReader(
            reactor,
            stdin,
            settings.payload_limit,
            on_line=self._console.on_line,
            on_end=lambda: None,
            on_too_long=lambda _: self._console.warn(
                f"a line was not sent because it is longer than {settings.payload_limit} bytes"
            ),
        )
        self._fanout = Fanout(settings.feed_limit)
        self._memory_limit = MemoryLimit(settings.queued_limit)
        self._memory_check_due = 0.0  # the reactor's time of the next check
        self.admission = Admission(
            settings.max_clients,
            settings.clients_per_address,
            settings.address_rate,
            lambda: reactor.now,
        )
        self.connections: dict[Connection, str] = {}  # with the peer's host; empty if admission refused it
        self._max_connections = _descriptor_capacity(settings)
        self._listener = Listener(
            reactor,
            sock,
            batch=settings.accept_batch,
            pause=settings.accept_pause,
            capacity=self._capacity,
            on_connection=self.accept,
        )
        self.status = Status(
            reactor,
            self.hub,
            self._fanout,
            self._memory_limit,
            self.admission,
            self._listener,
            connections=self.connections.keys(),
            capacity=self._capacity,
            refused=self._refused,
            is_serving=lambda: self._state is ServerState.SERVING,
            security_contact=settings.security_contact,
        )
        self._workers = ThreadPool(reactor, settings.password_workers, settings.password_queue)
        self._checker = ThreadPool(reactor, 1, 0)  # checks the history
        self._stopping = threading.Event()
        history = settings.history
        self._disk_space = None if history is None else DiskSpace(Path(history), self._warn)
        selchat = SelchatFormat(DecimalHeaders(settings.header_length))
        self._api = MessageApi(settings, self.hub, reactor, selchat, TokenFile(), self._console.warn)
        self._work = WorkLimits(settings, reactor)
        self._context = Context(
            settings,
            self.hub,
            reactor,
            self._work,
            self._console,
            ClassicFormat(settings.header_length, settings.payload_limit, cipher, settings.roster_limit),
            selchat,
            commands.remote,
            f"selchat {__version__}",
            self._authenticator(),
            self._new_http_session(),
        )
        reactor.at_tick_end(self._end_tick)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that the server listens on."""
        return self._listener.address

    def run(self) -> int:
        """Serve until `stop` or a signal; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.reactor.on_signal(number, lambda number=number: self._on_signal(number))
        if hasattr(signal, "SIGHUP"):
            # If SIGHUP is ignored, as under nohup, the server must outlive its terminal.
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            self.reactor.on_signal(signal.SIGHUP, self.reload if ignored else self._on_hangup)
        show_banner(
            self._console,
            self.address,
            self._tls,
            has_page=self._context.new_http_session is not None,
            hosts=reachable_addresses(self.address[0]),
            terminal=self._terminal_size(),
            settings=self._settings,
        )
        self._show_unclaimed()
        self.expire_history()
        self._check_history()
        self._check_descriptors()
        self.check_certificate()
        try:
            self.reactor.run()
        finally:
            self.close()
        return self._exit_status

    def stop(self) -> None:
        """Stop accepting, sign everyone out, and end `run` when all is sent, or after ``flush_seconds``."""
        if self._state is not ServerState.SERVING:
            return
        self._state = ServerState.STOPPING
        self._listener.close()
        self._input.close()
        self.hub.broadcast_notice("The server is shutting down.")
        self.hub.disconnect(self.hub.members(), SHUTDOWN)
        for connection in tuple(self.connections):
            connection.close("server shut down")
        self.reactor.call_later(self._settings.flush_seconds, self.reactor.stop)
        self._stop_if_empty()

    def close(self) -> None:
        """Close everything at once. `run` calls it at its end."""
        self._state = ServerState.STOPPED
        self._listener.close()
        self._input.close()
        for connection in tuple(self.connections):
            connection.abort(ConnectionAbortedError(0, "server shut down"))
        self._stopping.set()
        self._checker.close(PASSWORD_SHUTDOWN_SECONDS)
        self._workers.close(PASSWORD_SHUTDOWN_SECONDS)
        self._output.close(within=1.0)
        self._log.close()
        self.reactor.close()  # last: from here on, a signal such as SIGHUP kills the process

    # -- settings --------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Load the settings again and apply the changes that need no restart; show them.

        If one setting is invalid, all stay as they are.
        """
        if self._state is not ServerState.SERVING:
            return
        try:
            loaded = self._load()
        except ConfigurationError as error:
            for mistake in error.mistakes:
                self._console.warn(f"settings not reloaded: {mistake}")
            return
        settings, applied, pending = reload_settings(self._settings, loaded, RESTART_ONLY)
        try:
            tls = open_tls(settings)
        except UsageError as error:
            self._console.warn(f"settings not reloaded: {error}")
            return
        before, self._tls = self._tls, tls
        self._apply(settings)
        applied += describe_change(before, tls)
        if applied or not pending:
            self._console.show_reload(applied)
        self._show_new_fingerprints(before)
        if pending:
            self._console.warn(f"restart the server to change {', '.join(pending)}")
        self._show_unclaimed()
        self._check_descriptors()
        self._warn_of_certificate()

    def _show_new_fingerprints(self, before: TlsConfig | None) -> None:
        old = _NO_FINGERPRINTS if before is None else before.fingerprints
        new = _NO_FINGERPRINTS if self._tls is None else self._tls.fingerprints
        if new != old:
            self._console.show_fingerprints(*new)

    def check_certificate(self) -> None:
        """Renew our own certificate, or warn about the operator's, if it expires soon; check again in a day.

        `run` calls it at its start.
        """
        self.reactor.call_later(CERTIFICATE_CHECK_SECONDS, self.check_certificate)
        if self._settings.cert is None and self._tls is not None and self._tls.validity.must_renew(_utc()):
            before = self._tls
            try:
                self._tls = open_tls(self._settings)
            except UsageError as error:
                self._console.warn(f"the certificate was not renewed: {error}")
            self._apply(self._settings)
            self._show_new_fingerprints(before)
        self._warn_of_certificate()

    def _warn_of_certificate(self) -> None:
        warning = "" if self._tls is None else self._tls.validity.warning(_utc())
        if warning:
            self._console.warn(warning)

    def _apply(self, settings: Settings) -> None:
        """Apply settings: to the hub and the console at once, to sessions from the next connection on."""
        password_changed = settings.password != self._settings.password
        self._settings = settings
        authenticator = self._authenticator() if password_changed else self._context.authenticator
        self._context = replace(
            self._context,
            settings=settings,
            authenticator=authenticator,
            new_http_session=self._new_http_session(),
        )
        self.hub.reconfigure(settings)
        self._work.reconfigure(settings)
        self._api.reconfigure(settings)
        self._console.set_style(_style(settings), settings.quiet)
        self._log.set_retention(Retention.parse(settings.retention))
        self.admission.set_limits(settings.max_clients, settings.clients_per_address, settings.address_rate)
        self._memory_limit.limit = settings.queued_limit
        self._max_connections = _descriptor_capacity(settings)
        self.status.security_contact = settings.security_contact

    def _authenticator(self) -> Authenticator | None:
        password = self._settings.password
        if not password:
            return None
        return Authenticator(PasswordHash.parse(password), self._workers, self.reactor, self._console)

    def _new_http_session(self) -> HttpSessionFactory | None:
        """Return the factory of HTTP sessions; None if the page's libraries are not installed."""
        page = self._page
        if page is None:
            return None
        tls, names = self._tls, own_names()
        hosts = HostAllowlist(
            [
                *names,
                *(f"{name}.local" for name in names),
                *self._settings.allowed_host,
                *([] if tls is None else tls.names),
            ],
            own_addresses,
            lambda: self.reactor.now,
        )
        site = Site(
            page.files,
            page.format,
            self._api,
            Operations(self.status.ready, self.status.metrics, self.status.security_txt),
            hosts.__contains__,
            *(("", "") if tls is None else tls.fingerprints),
        )
        return partial(page.session, site)

    # -- connections -----------------------------------------------------------------------------------

    def accept(self, sock: socket.socket, host: str, port: int) -> None:
        """Open a session on an accepted socket, or refuse it."""
        settings = self._settings
        refusal: SelchatError | None = None
        try:
            self.hub.moderation.check_address(host)
        except BannedError as error:
            refusal = error
        else:
            refusal = self.admission.admit(host)
        if refusal is not None:
            self._refused[_REASONS[type(refusal)]] += 1
        if isinstance(refusal, AddressRateError):
            # Close without an error message: a session would have to wait for the peer's first bytes to learn
            # its protocol, and so many waiting sessions would take the room of others.
            sock.close()
            self._console.closed_before_login(join_address(host, port), str(refusal))
            return
        connection = Connection(
            self.reactor,
            self._fanout,
            sock,
            join_address(host, port),
            read_size=settings.read_size,
            replies_limit=settings.replies_limit,
            flush_seconds=settings.flush_seconds,
            linger_seconds=settings.linger_seconds,
            on_closed=self._on_connection_closed,
            tls=None if self._tls is None else self._tls.context,
            record_rate=settings.record_rate,
            record_burst=settings.record_burst,
        )
        self.connections[connection] = "" if refusal else host
        local = is_loopback(host)
        unsecured = TlsRequiredError() if settings.tls == "require" and not local else None
        tls = self._tls is not None
        connection.open(DetectSession(self._context, connection, refusal, unsecured, tls=tls, local=local))

    def _close_banned(self) -> None:
        """Close the connections of banned addresses, whether anyone has signed in on them or not."""
        for connection, host in tuple(self.connections.items()):
            try:
                self.hub.moderation.check_address(host)
            except BannedError:
                connection.close("banned by the operator")

    def _on_connection_closed(self, connection: Connection) -> None:
        host = self.connections.pop(connection)
        if host:
            self.admission.release(host)
        self._stop_if_empty()

    def _capacity(self) -> int:
        """Return how many more connections the process has descriptors for."""
        return self._max_connections - len(self.connections)

    def _show_unclaimed(self) -> None:
        """Show the one-time codes of operator names that nobody has claimed."""
        for name, code in self.hub.operators.unclaimed():
            self._console.warn(
                f"nobody has claimed the operator name {name}. To become this operator, sign in with a "
                f"selchat client and send /claim {code}, or type /op {quoted(name)} here for its owner"
            )

    def _check_descriptors(self) -> None:
        if self._max_connections < self._settings.max_clients:
            self._console.warn(
                f"the limit of open files (ulimit -n) allows {self._max_connections} connections, "
                f"fewer than max_clients ({self._settings.max_clients}); raise it"
            )

    # -- the reactor calls -----------------------------------------------------------------------------

    def _end_tick(self) -> None:
        for feed in self.hub.publish():
            self._fanout.deliver(feed)
        if self._fanout.blocked and self.reactor.now >= self._memory_check_due:
            self._memory_check_due = self.reactor.now + MEMORY_CHECK_SECONDS
            self._memory_limit.enforce(self._fanout.blocked)
        self._fanout.finish()

    def expire_history(self) -> None:
        """Delete a batch of old and dropped messages, and schedule the next. `run` calls it at its start."""
        pause = self._settings.forget_interval
        try:
            if self._log.expire(time.time()) or self.hub.rooms.delete_dropped():
                pause = EXPIRY_PAUSE
            else:
                self.hub.probe_log()
                if self._disk_space is not None:
                    self._disk_space.check()
                self.hub.collect_garbage()
        except NotReadableError:
            pass  # the disk fails; the next pass may succeed
        self.reactor.call_later(pause, self.expire_history)

    def _check_history(self) -> None:
        """Check the history for damage in the background, and warn the operator."""
        check = history_check(self._settings, self._stopping.wait)
        if check is not None:
            self._checker.submit(lambda: check, self._warn)

    def _warn(self, text: str) -> None:
        """Warn the operator; an empty text or None: there is nothing to say."""
        if text:
            self._console.warn(text)

    def _on_hangup(self) -> None:
        """Stop if SIGHUP means that the terminal is gone, else reload."""
        if self._input.hung_up:
            self.stop()
        else:
            self.reload()

    def _on_signal(self, number: int) -> None:
        if self._state is ServerState.SERVING:
            self.stop()
        else:
            self._exit_status = 128 + number  # as shells report a process that a signal has ended
            self.reactor.stop()

    def _stop_if_empty(self) -> None:
        if self._state is ServerState.STOPPING and not self.connections:
            self.reactor.stop()

    def _on_error(self, where: str, error: Exception) -> None:
        self._console.on_error(where, error)

    def _terminal_size(self) -> os.terminal_size | None:
        """Return the size of the operator's terminal if a QR code may be shown there."""
        settings = self._settings
        if settings.quiet or settings.log_format != "text" or not os.isatty(self._stdout):
            return None
        return os.get_terminal_size(self._stdout)


def _utc() -> datetime:
    return datetime.now(UTC)


def _style(settings: Settings) -> Style:
    style = JsonStyle if settings.log_format == "json" else TextStyle
    return style(settings.log_body)


def _descriptor_capacity(settings: Settings) -> int:
    """Raise the limit of open files as needed; return how many connections it allows."""
    descriptors = raise_descriptor_limit(settings.max_clients + settings.reserved_descriptors)
    return max(1, descriptors - settings.reserved_descriptors)
