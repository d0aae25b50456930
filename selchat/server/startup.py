"""Server startup: checks the settings, opens the log and the web page, and shows the startup banner.

Knows nothing about connections, sessions and the running chat.
"""

from __future__ import annotations

import io
import ipaddress
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from selchat.addresses import join_address
from selchat.config.settings import Settings
from selchat.errors import MissingExtraError, SettingError, UsageError, close_reason
from selchat.limits import MAX_URLS_SHOWN
from selchat.log.memory import MemoryLog
from selchat.log.port import Log
from selchat.log.retention import FOREVER, Retention
from selchat.net.certificate import CertificateError
from selchat.net.tls_config import TlsConfig, open_tls
from selchat.server.console import Console
from selchat.sessions.http.static import Files
from selchat.wire.cipher import CaesarCipher
from selchat.wire.responses import SelchatFormat

if TYPE_CHECKING:
    from selchat.sessions.http.session import HttpSession

_BORDER = 2  # white modules around a QR code; the standard demands 4, phones need none
_OTHER_LINES = 8  # terminal rows for the rest of the banner


class CannotStartError(UsageError):
    """The system lacks a resource that the server needs; ``why`` names it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"cannot start: {self.why}"


class Page(NamedTuple):
    """The web page's files and protocol. One ``format`` for all browsers, so that they share their feeds."""

    session: type[HttpSession]
    format: SelchatFormat
    files: Files


def check_settings(settings: Settings) -> None:
    """Raise `SettingError` for a value that only its user can check. Opens nothing permanently."""
    if settings.key:
        CaesarCipher(settings.key)
    if settings.cert is not None:
        try:
            open_tls(settings)
        except CertificateError as error:
            if settings.key_file is not None and error.path == Path(settings.key_file):
                raise SettingError("key_file", settings.key_file, f"usable ({error.why})") from error
            raise SettingError("cert", settings.cert, f"usable ({error.why})") from error
    Retention.parse(settings.retention, "retention")


def certificate_warning(settings: Settings) -> str:
    """Return the warning about the operator's certificate that expires soon; empty: there is none."""
    tls = None if settings.cert is None else open_tls(settings)
    return "" if tls is None else tls.validity.warning(datetime.now(UTC))


def open_log(settings: Settings, warn: Callable[[str], object]) -> Log:
    """Open the history file, or make a log in memory. ``warn(text)``: see `SqliteLog`."""
    if settings.history is None:
        return MemoryLog(settings.log_limit, max_rooms=settings.rooms_limit)
    from selchat.log.sqlite import SqliteLog  # imported here: a server without history needs no SQLite

    return SqliteLog(settings.history, Retention.parse(settings.retention), warn=warn)


def history_check(settings: Settings, pause: Callable[[float], bool]) -> Callable[[], str] | None:
    """Return a function that checks the history file for damage; None: there is no such file.

    See `selchat.log.check.check`. It is for another thread, because it takes a second for each 100 MB.
    """
    if settings.history is None:
        return None
    from selchat.log.check import check  # imported here, as above

    return partial(check, Path(settings.history), pause)


def open_page() -> Page | None:
    """Load the web page; None if its libraries are not installed. Raises `CannotStartError`."""
    try:
        # Imported here: these need the libraries of an extra.
        from selchat.sessions.http.session import HttpSession
        from selchat.wire.websocket import TextHeaders

        with suppress(ImportError):
            # Import it now: the import takes 40 ms, and the first request for metrics would block everyone.
            import prometheus_client  # noqa: F401
        return Page(HttpSession, SelchatFormat(TextHeaders()), Files())
    except ImportError:
        return None
    except OSError as error:  # the process has no descriptor left to read the files
        raise CannotStartError(close_reason(error)) from error


def show_banner(
    console: Console,
    address: tuple[str, int],
    tls: TlsConfig | None,
    *,
    has_page: bool,
    hosts: Sequence[str],
    terminal: os.terminal_size | None,
    settings: Settings | None = None,
) -> None:
    """Show the server's address, its fingerprints, and the URLs of its web page.

    ``address``: host and port that the server listens on. ``hosts``: the addresses at which other machines
    reach it, the best first. ``terminal``: the size of the terminal that has room for a QR code; None for no
    QR code. ``settings``: with the history, if the server stores one.
    """
    console.show_listening(join_address(*address))
    if settings is not None and settings.history is not None:
        keeps_all = Retention.parse(settings.retention) == Retention()
        console.show_history(settings.history, FOREVER if keeps_all else settings.retention)
    if tls is not None:
        console.show_fingerprints(*tls.fingerprints)
    if not has_page:
        console.show_page_disabled(str(MissingExtraError("h11", "web")))
        return
    host, port = address
    listens = ipaddress.ip_address(host.partition("%")[0])
    urls = page_urls(hosts, port, tls=tls is not None, local=listens.is_loopback or listens.is_unspecified)
    console.show_urls(urls, qr_code(urls[0], *terminal) if hosts and terminal is not None else [])


def page_urls(hosts: Sequence[str], port: int, *, tls: bool, local: bool) -> list[str]:
    """Return the URLs of the web page on these hosts, and (``local``) on this machine.

    The local one is plain HTTP: it needs no encryption, and the browser shows no certificate warning.
    """
    scheme = "https" if tls else "http"
    urls = [f"{scheme}://{join_address(host, port)}/" for host in hosts[:MAX_URLS_SHOWN]]
    return [*urls, f"http://localhost:{port}/"] if local else urls


def qr_code(url: str, columns: int, rows: int) -> list[str]:
    """Return the lines of a QR code; none if it does not fit the terminal or segno is not installed."""
    try:
        import segno
    except ImportError:
        return []
    code = segno.make_qr(url, error="l")
    text = io.StringIO()
    code.terminal(out=text, compact=True, border=_BORDER)
    lines = [line for line in text.getvalue().splitlines() if line]
    fits = max(map(len, lines)) <= columns and len(lines) + _OTHER_LINES <= rows
    return lines if fits else []
