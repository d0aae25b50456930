"""The committed page matches its source in web/. These tests need no Node."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from selchat.sessions.http.static import Files

_ROOT = Path(__file__).parent.parent
_WEB, _PAGE = _ROOT / "web", _ROOT / "selchat" / "page"
_LIMIT = 100 * 1024  # bytes of the whole page, gzipped


def test_page_is_built_from_this_source() -> None:
    paths = [_WEB / "build.mjs", _WEB / "index.html", _WEB / "package-lock.json"]
    paths += [path for path in (_WEB / "src").rglob("*") if path.is_file()]
    names = {path.relative_to(_WEB).as_posix(): path for path in paths}
    digest = hashlib.sha256()
    for name in sorted(names):
        data = names[name].read_bytes()
        digest.update(f"{name} {len(data)}\n".encode() + data)
    built_from = (_PAGE / "SOURCE").read_text().strip()
    assert built_from == digest.hexdigest(), "web/ has changed: run `npm run build` in web/"


def test_file_names_contain_the_hash_of_the_content() -> None:
    for path in _PAGE.iterdir():
        if path.name not in {"index.html", "SOURCE"}:
            _, digest, _ = path.name.split(".")
            assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)


def test_page_is_small_and_every_referenced_file_exists() -> None:
    files = Files()
    index = files.find("/")
    assert index is not None
    size = 0
    for path in _PAGE.iterdir():
        found = files.find(f"/{path.name}")
        if path.name == "SOURCE":
            assert found is None, "SOURCE is not served"
            continue
        assert found is not None
        assert found.immutable is (path.name != "index.html")
        assert found.gzipped == b"" or gzip.decompress(found.gzipped) == found.body
        size += len(found.gzipped or found.body)
    assert size < _LIMIT
    for name in re.findall(r'(?:src|href)="([^"#]+)"', index.body.decode()):
        assert files.find(f"/{name.removeprefix('/')}") is not None, name
