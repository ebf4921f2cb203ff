"""The doors of rooms that need optional packages: a name that cannot be loaded names its extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader

# What adapts to other libraries, and is in no name of `from uncollapse import *`.
_BESIDE_ALL = ("peers", "text")


def door(package: str, file: str, extra: str) -> tuple[Callable[[str], Any], Any, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a room whose names are loaded when first used.

    Raises:
        ModuleNotFoundError: From `__getattr__`, with the extra that brings the package.
    """
    load, listed, names = lazy_loader.attach_stub(package, file)
    return hinted(load, package, dict.fromkeys(names, extra)), listed, names


def hinted(
    load: Callable[[str], Any], package: str, extras: dict[str, str]
) -> Callable[[str], Any]:
    """The loader of a door; where a package is missing, the error says which extra brings it."""

    def loaded(name: str) -> Any:
        try:
            return load(name)
        except ModuleNotFoundError as error:
            if name not in extras or (error.name or "").startswith("uncollapse"):
                raise
            extra = extras[name]
            all_names = "" if extra in _BESIDE_ALL else " ('uncollapse[all]' for every name)"
            raise ModuleNotFoundError(
                f"{package}.{name} needs {error.name}, which is not installed:"
                f" pip install 'uncollapse[{extra}]'{all_names}",
                name=error.name,
            ) from error

    return loaded
