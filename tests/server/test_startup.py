"""The startup banner: addresses, URLs and a QR code."""

from __future__ import annotations

import io
import json
import os
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import segno

from selchat.config.settings import Settings
from selchat.errors import SettingError
from selchat.net.certificate import Validity
from selchat.net.tls_config import Fingerprints, TlsConfig
from selchat.server.console import Console, JsonStyle, Style, TextStyle
from selchat.server.startup import check_settings, open_log, page_urls, qr_code, show_banner
from tests.server.support import certificate_for

URL = "https://192.168.43.158:33000/"
HOSTS = ["192.168.43.158", "10.1.2.3"]
TERMINAL = os.terminal_size((80, 24))
NOW = datetime.now(UTC)
TLS = TlsConfig(
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    Fingerprints("3f2a 77b0", "90c1 04de"),
    [],
    Validity(Path("c.pem"), NOW, NOW + timedelta(days=800)),
)


def banner(style: Style, host: str = "0.0.0.0", **more: Any) -> list[str]:
    lines: list[str] = []
    options: dict[str, Any] = {"has_page": True, "hosts": HOSTS, "terminal": TERMINAL, **more}
    show_banner(Console(lines.append, style, quiet=True), (host, 33000), options.pop("tls", TLS), **options)
    return lines


def test_banner_shows_the_address_the_fingerprints_the_urls_and_a_qr_code() -> None:
    lines = banner(TextStyle(1000))
    assert lines == [
        "Listening for connections on 0.0.0.0:33000...",
        "Key fingerprint (for selchat chat):",
        "3f2a 77b0",
        "Certificate fingerprint (SHA-256, for browsers):",
        "90c1 04de",
        f"In a browser: {URL}",
        "In a browser: https://10.1.2.3:33000/",
        "In a browser on this machine: http://localhost:33000/",
        *qr_code(URL, 80, 24),
    ]
    assert len(lines) > 15


@pytest.mark.parametrize(
    ("retention", "shown"),
    [
        ("10GiB", "Storing messages in h.sqlite. Beyond 10GiB (--retention), the oldest are deleted."),
        ("", "Storing messages in h.sqlite. All messages are kept."),
        ("Forever", "Storing messages in h.sqlite. All messages are kept."),
    ],
)
def test_banner_says_what_the_history_keeps(retention: str, shown: str) -> None:
    settings = Settings(history="h.sqlite", retention=retention)
    assert banner(TextStyle(1000), tls=None, settings=settings)[1] == shown
    assert shown not in banner(TextStyle(1000), tls=None, settings=Settings(retention=retention))
    line = json.loads(banner(JsonStyle(1000), tls=None, settings=settings)[1])
    assert (line["event"], line["path"]) == ("history", "h.sqlite")


def test_banner_without_tls_has_no_fingerprints_and_http_urls() -> None:
    assert banner(TextStyle(1000), tls=None, terminal=None) == [
        "Listening for connections on 0.0.0.0:33000...",
        "In a browser: http://192.168.43.158:33000/",
        "In a browser: http://10.1.2.3:33000/",
        "In a browser on this machine: http://localhost:33000/",
    ]


@pytest.mark.parametrize(
    ("host", "has_local"), [("127.0.0.1", True), ("::1", True), ("::", True), ("192.168.43.158", False)]
)
def test_banner_shows_localhost_only_if_the_server_listens_there(host: str, has_local: bool) -> None:
    assert ("http://localhost" in "".join(banner(TextStyle(1000), host))) == has_local


def test_banner_without_a_reachable_address_has_no_qr_code() -> None:
    assert banner(TextStyle(1000), "127.0.0.1", tls=None, hosts=[]) == [
        "Listening for connections on 127.0.0.1:33000...",
        "In a browser on this machine: http://localhost:33000/",
    ]


def test_banner_in_json_has_the_urls_and_no_qr_code() -> None:
    listening, identified, invited = map(json.loads, banner(JsonStyle(1000)))
    assert (listening["event"], listening["address"]) == ("listening", "0.0.0.0:33000")
    assert (identified["event"], identified["fingerprint"]) == ("identified", "3f2a 77b0")
    assert (invited["event"], invited["addresses"]) == (
        "invited",
        [URL, "https://10.1.2.3:33000/", "http://localhost:33000/"],
    )


def test_banner_without_the_web_extra_says_how_to_install_it() -> None:
    assert banner(TextStyle(1000), tls=None, has_page=False) == [
        "Listening for connections on 0.0.0.0:33000...",
        "The web page is disabled: h11 is not installed: python3 -m pip install 'selchat[web]'",
    ]


def test_page_urls_are_written_as_browsers_accept_them() -> None:
    hosts = ["192.168.43.158", "fd00::7"]
    assert page_urls(hosts, 33000, tls=True, local=True) == [
        URL,
        "https://[fd00::7]:33000/",
        "http://localhost:33000/",
    ]
    assert page_urls(hosts[:1], 80, tls=False, local=False) == ["http://192.168.43.158:80/"]
    assert page_urls([], 33000, tls=True, local=True) == ["http://localhost:33000/"]
    assert len(page_urls(["10.1.2.3"] * 30, 33000, tls=True, local=False)) == 6


def test_qr_code_encodes_the_url() -> None:
    lines = qr_code(URL, 80, 24)
    assert len({len(line) for line in lines}) == 1
    code = segno.make_qr(URL, error="l")
    expected = io.StringIO()
    code.terminal(out=expected, compact=True, border=2)
    assert "\n".join(lines) == expected.getvalue().strip("\n")
    # Decode it as a scanner does: the upper half of a character is one module, the lower half the next.
    rows = [[one in half for one in line] for line in lines for half in (" \u2584", " \u2580")]
    assert [row[2:-2] for row in rows[2:-2]][: len(code.matrix)] == [
        [bool(module) for module in row] for row in code.matrix
    ][: len(rows) - 4]


@pytest.mark.parametrize(
    ("columns", "rows", "fits"), [(80, 24, True), (29, 24, True), (28, 24, False), (80, 22, False)]
)
def test_qr_code_is_left_out_if_it_does_not_fit_the_terminal(columns: int, rows: int, fits: bool) -> None:
    assert bool(qr_code(URL, columns, rows)) == fits


def test_qr_code_is_left_out_without_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert qr_code(URL, 80, 24) == []


@pytest.mark.parametrize(
    ("settings", "setting"),
    [({"key": "x"}, "key"), ({"retention": "x"}, "retention"), ({"cert": "/none.pem"}, "cert")],
)
def test_check_settings_names_the_setting_that_is_wrong(settings: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_settings(Settings(**settings))
    assert caught.value.name == setting


def test_check_settings_names_the_file_of_the_wrong_key(tmp_path: Path) -> None:
    good, other = (certificate_for("chat.example", tmp_path / name) for name in ("good.pem", "other.pem"))
    missing = str(tmp_path / "none.pem")
    for settings, wrong in (
        (
            {"cert": good, "key_file": missing},
            f"key_file: {missing!r} is not usable (no such file or directory)",
        ),
        ({"cert": good, "key_file": other}, f"key_file: {other!r} is not usable (its key belongs to another"),
        ({"cert": missing, "key_file": good}, f"cert: {missing!r} is not usable (no such file or directory)"),
    ):
        with pytest.raises(SettingError) as caught:
            check_settings(Settings(**settings))  # type: ignore[arg-type]
        assert str(caught.value).startswith(wrong)


def test_check_settings_opens_nothing(tmp_path: Path) -> None:
    check_settings(Settings(history=str(tmp_path / "history.sqlite")))
    assert list(tmp_path.iterdir()) == []


def test_server_without_history_keeps_the_messages_of_rooms_limit_rooms() -> None:
    log = open_log(Settings(rooms_limit=2), lambda text: None)
    for number in range(10):
        log.append(f"room{number}", "Venkat", ["x"], 0.0)
        log.commit()
    assert list(log.rooms()) == ["room8", "room9"]
    assert log.last_seq("room0") == 1
