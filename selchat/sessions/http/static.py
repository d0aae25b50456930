"""Static files of the web page, and what else a server offers to browsers.

This module knows no connection; `selchat.sessions.http.session` does.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from selchat.sessions.http.api import MessageApi
from selchat.wire.responses import SelchatFormat

_INDEX = "index.html"
_HASHED = re.compile(
    r"\.[0-9A-Za-z_-]{8,}\.[a-z0-9]+\Z"
)  # app.4F7Q2ZKA.js: the name changes with the content
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file. ``gzipped``: its compressed bytes; empty if they are not smaller.

    ``immutable``: the content at this path never changes.
    """

    body: bytes
    gzipped: bytes
    type: str
    etag: str
    immutable: bool


class Files:
    """The files of the page by path. The constructor reads all of them: they are few and small."""

    def __init__(self, folder: Traversable | None = None) -> None:
        if folder is None:
            folder = resources.files("selchat").joinpath("page")
        self._files: dict[str, File] = {}
        for path in folder.iterdir() if folder.is_dir() else ():
            kind = _TYPES.get(path.name.rpartition(".")[2])
            if kind is not None and path.is_file():
                self._files[f"/{path.name}"] = _read(path.name, kind, path.read_bytes())
        index = self._files.get(f"/{_INDEX}")
        if index is not None:
            self._files["/"] = index

    def find(self, path: str) -> File | None:
        """Return the file at that path, or None."""
        return self._files.get(path)


@dataclass(frozen=True, slots=True)
class Operations:
    """Endpoints for the operator's programs.

    ``ready``: the readiness of the server, as a status (200 or 503) and one line of text. ``metrics``: the
    current metrics in Prometheus's format. ``security_txt``: the file of that name, or None.
    """

    ready: Callable[[], tuple[int, str]]
    metrics: Callable[[], bytes]
    security_txt: Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a server offers over HTTP.

    ``format``: encodes the selchat protocol for WebSocket. ``is_allowed_host``: whether a host name or
    address (IPv6 without brackets), in lower case, belongs to this server. ``fingerprint`` and
    ``certificate``: SHA-256 of the server's key and of its certificate, in groups; empty without TLS.
    """

    files: Files
    format: SelchatFormat
    api: MessageApi
    operations: Operations
    is_allowed_host: Callable[[str], bool]
    fingerprint: str = ""
    certificate: str = ""


def _read(name: str, kind: str, body: bytes) -> File:
    gzipped = gzip.compress(body, 9, mtime=0)
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'  # weak: the same with and without gzip
    return File(body, gzipped if len(gzipped) < len(body) else b"", kind, etag, bool(_HASHED.search(name)))
