"""What a server shows to browsers, beside the chat itself: its files, and by which names it is called.

It must not know a connection; `selchat.sessions.http.session` does.
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
_HASHED = re.compile(r"\.[0-9A-Za-z_-]{8,}\.[a-z0-9]+\Z")  # app.4F7Q2ZKA.js: another content has another name
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
    """One file: its bytes, the same as gzip has them (empty: that is no smaller), its MIME type and its ETag.

    ``lasting``: its content never changes.
    """

    body: bytes
    packed: bytes
    type: str
    tag: str
    lasting: bool


class Files:
    """The files of the page, by their paths. All are read at once: they are few and small."""

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
        """Return the file at that path; None: there is none."""
        return self._files.get(path)


@dataclass(frozen=True, slots=True)
class Operations:
    """What an operator's programs may ask of the server, over HTTP.

    ``ready``: whether it can do its work now, as the status of an answer (200 or 503) and one line of text.
    ``metrics``: `selchat.server.metrics.render` of this moment. ``security_txt``: that file; None: there is none.
    """

    ready: Callable[[], tuple[int, str]]
    metrics: Callable[[], bytes]
    security_txt: Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Site:
    """What all browsers are shown.

    ``format``: how the selchat protocol is said in WebSocket messages. ``posting``: who takes what scripts say.
    ``is_ours``: whether a name or an address (of IPv6 without brackets), in lower case, is this server's.
    ``fingerprint`` and ``certificate``: SHA-256 of its key and of its certificate, in groups; empty: no TLS.
    """

    files: Files
    format: SelchatFormat
    posting: MessageApi
    operations: Operations
    is_ours: Callable[[str], bool]
    fingerprint: str = ""
    certificate: str = ""


def _read(name: str, kind: str, body: bytes) -> File:
    packed = gzip.compress(body, 9, mtime=0)
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'  # weak: it is the same with gzip and without
    return File(body, packed if len(packed) < len(body) else b"", kind, tag, bool(_HASHED.search(name)))
