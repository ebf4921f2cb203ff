"""What commands print: answers on stdout, progress on stderr, and what stops them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from uncollapse.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 a finding under --fail-on; 2 misuse or unusable input, said in one line "
    "on stderr; 130 interrupted."
)


def plain_console() -> Console:
    """Stdout, as wide as the terminal, as COLUMNS says, or 110."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else 110)


def print_json(kind: str, answer: Mapping[str, Any]) -> None:
    """One line of strict JSON on stdout, for an answer that no record is made of."""
    head = {"kind": kind, "schema_version": 1}
    typer.echo(json.dumps(head | dict(answer), allow_nan=False, ensure_ascii=False))


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


@contextmanager
def bar(stage: str, unit: str = "", *, transient: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr while it is a terminal.

    Its update takes what is done, all there is to do (None where that is not known), and, where
    they change, a text beside the bar and the stage.
    """
    from rich import progress as widgets
    from rich.console import Console

    with widgets.Progress(
        widgets.TextColumn("{task.description}"),
        widgets.BarColumn(),
        widgets.MofNCompleteColumn(),
        widgets.TextColumn(unit),
        widgets.TextColumn("{task.fields[text]}"),
        widgets.TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=transient,
    ) as progress:
        task = progress.add_task(stage, total=None, text="")

        def update(
            done: float, total: float | None, text: str = "", *, stage: str | None = None
        ) -> None:
            progress.update(task, completed=done, total=total, text=text, description=stage)

        yield update


def need(what: str, extra: str, *modules: str) -> None:
    """Raise the user's error where one of the modules is missing or itself incomplete."""
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                what, f"an environment without {error.name}", f"pip install 'uncollapse[{extra}]'"
            ) from error
