"""Packages that only a report needs."""

from __future__ import annotations

from importlib.util import find_spec

from uncollapse.errors import InputError


def need(*names: str) -> None:
    """Refuse to go on without a package.

    Raises:
        InputError: One of them is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise InputError(
                "the packages that draw a report",
                f"an environment without {name}",
                "pip install 'uncollapse[report]'",
            )
