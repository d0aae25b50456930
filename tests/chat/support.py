"""Measure what an object keeps in memory."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

_SHARED = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


def reachable_objects(root: object) -> int:
    """Count the references from ``root`` to other objects, direct and indirect, without code and modules.

    If it is the same before and after, nothing was leaked in between.
    """
    count, stack, seen = 0, [root], {id(root)}
    while stack:
        for found in gc.get_referents(stack.pop()):
            if not isinstance(found, _SHARED):
                count += 1
                if id(found) not in seen:
                    seen.add(id(found))
                    stack.append(found)
    return count
