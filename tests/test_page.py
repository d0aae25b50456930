"""The page that is in the wheel is the one that web/ gives: no Node is needed to see that."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from selchat.sessions.http.static import Files

_ROOT = Path(__file__).parent.parent
_WEB, _PAGE = _ROOT / "web", _ROOT / "selchat" / "page"
_LIMIT = 100 * 1024  # bytes of the whole page, compressed


def test_it_is_made_of_this_source() -> None:
    paths = [_WEB / "build.mjs", _WEB / "index.html", _WEB / "package-lock.json"]
    paths += [path for path in (_WEB / "src").rglob("*") if path.is_file()]
    names = {path.relative_to(_WEB).as_posix(): path for path in paths}
    digest = hashlib.sha256()
    for name in sorted(names):
        data = names[name].read_bytes()
        digest.update(f"{name} {len(data)}\n".encode() + data)
    made_of = (_PAGE / "SOURCE").read_text().strip()
    assert made_of == digest.hexdigest(), "web/ has changed: npm run build, in web/"


def test_names_say_what_is_in_the_files() -> None:
    for path in _PAGE.iterdir():
        if path.name not in {"index.html", "SOURCE"}:
            _, digest, _ = path.name.split(".")
            assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)


def test_it_is_small_and_all_that_it_refers_to_is_there() -> None:
    files = Files()
    index = files.find("/")
    assert index is not None
    size = 0
    for path in _PAGE.iterdir():
        found = files.find(f"/{path.name}")
        if path.name == "SOURCE":
            assert found is None, "it is for us"
            continue
        assert found is not None
        assert found.immutable is (path.name != "index.html")
        assert found.gzipped == b"" or gzip.decompress(found.gzipped) == found.body
        size += len(found.gzipped or found.body)
    assert size < _LIMIT
    for name in re.findall(r'(?:src|href)="([^"#]+)"', index.body.decode()):
        assert files.find(f"/{name.removeprefix('/')}") is not None, name
