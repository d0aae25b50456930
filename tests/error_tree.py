"""Every exception class of the package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import selchat
from selchat.errors import SelchatError


def every_error() -> Iterator[type[SelchatError]]:
    """Import every module of the package and yield `SelchatError` and all its subclasses."""
    for module in pkgutil.walk_packages(selchat.__path__, "selchat."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    yield from _with_subclasses(SelchatError)


def _with_subclasses(kind: type[SelchatError]) -> Iterator[type[SelchatError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__.startswith("selchat."):
            yield from _with_subclasses(each)
