"""What commands print: answers on stdout, progress on stderr, and what stops them."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

from uncollapse.errors import InputError, visible
from uncollapse.progress import Step
from uncollapse.storage import escaped, json_text

if TYPE_CHECKING:
    from rich.console import Console

# Of a reader that left: as a shell says of a program that SIGPIPE ended.
FAULT, INTERRUPTED, CLOSED_PIPE = 3, 130, 141
EXIT_CODES = (
    "Exit codes: 0 done; 1 a finding under --fail-on; 2 misuse or unusable input, said in one line "
    "on stderr; 3 a fault of uncollapse (--debug shows where); 130 interrupted."
)


def plain_console() -> Console:
    """Stdout, as wide as COLUMNS says, the terminal is, or 110; text in it is no markup."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end with exit code 1, which is a finding here

    width = shutil.get_terminal_size((110, 24)).columns
    return Plain(width=width, markup=False, emoji=False, highlight=False)


def print_command(words: str, console: Console) -> None:
    """A command to copy, under a text with a hanging indent; it is not broken."""
    from rich.text import Text

    from uncollapse.records import Hanging

    line = Text(" " * Hanging.indent).append(visible(words), style="bold")
    console.print(line, soft_wrap=True)


def prepare_streams() -> None:
    """Let the streams take any text, and stderr stand for a closed stdout: no answer is lost.

    What the encoding of a stream lacks is escaped.
    """
    while (lowest := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # Else a file that is opened later would be what libraries print to.
    os.close(lowest)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (to the end)
    sys.stdout = sys.stdout or sys.stderr
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_record(text: str) -> None:
    """JSON on stdout; what its encoding lacks becomes JSON's own escapes."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = re.sub(r"[^\x00-\x7f]+", lambda match: escaped(match[0]), text)
    typer.echo(text)


def print_json(kind: str, answer: Mapping[str, Any]) -> None:
    """One line of strict JSON on stdout, for an answer that no record is made of."""
    print_record(json_text({"kind": kind, "schema_version": 1, **answer}, None))


def tell(text: str, *, err: bool = False) -> None:
    """Lines on stdout (or stderr) in which nothing from a file is obeyed by the terminal."""
    typer.echo(visible(text), err=err)


def say(text: str) -> None:
    """Lines on stderr, with hanging indents."""
    tell(hanging(text), err=True)


def hanging(text: str) -> str:
    """Lines that are too long, broken between words and set under the text of their first one.

    That begins after a word and two blanks or more, after `note: `, or after blanks alone.
    """
    width = shutil.get_terminal_size((110, 24)).columns
    return "\n".join(_hung(line, width) for line in text.split("\n"))


def _hung(line: str, width: int) -> str:
    lead = re.match(r" +|[\w-]+ {2,}|note: |", line)
    indent = 0 if lead is None else len(lead[0])
    broken = textwrap.wrap(
        line[indent:],
        max(width - indent, 20),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
        expand_tabs=False,
    )
    if len(line) <= width or not broken:
        return line
    return line[:indent] + ("\n" + " " * indent).join(broken)


@contextmanager
def bar(
    stage: str, unit: str = "", *, transient: bool = False, every: tuple[str, int] | None = None
) -> Iterator[Callable[..., None]]:
    """A bar on stderr while it is a terminal; else a line after `every`, a name and so many steps.

    Its update takes what is done, all there is to do (None where that is not known), and, where
    they change, a text beside the bar and the stage.
    """
    if every is not None and not sys.stderr.isatty():
        yield Lines(*every)
        return
    from rich import progress as widgets
    from rich.console import Console

    with widgets.Progress(
        widgets.TextColumn("{task.description}", markup=False),
        widgets.BarColumn(),
        widgets.MofNCompleteColumn(),
        widgets.TextColumn(unit),
        widgets.TextColumn("{task.fields[text]}", markup=False),
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


class Lines:
    """Progress where there is no terminal: a line after every so many steps, with the time left."""

    def __init__(self, unit: str, every: int) -> None:
        self.unit, self.every = unit, every
        self.began, self.first, self.last = monotonic(), 0, 0

    def __call__(
        self, done: int, total: int | None, text: str = "", *, stage: str | None = None
    ) -> None:
        """After a step; of work that was done before, or begins anew, no time is known."""
        if done != self.last + 1:
            self.began, self.first = monotonic(), done
        self.last = done
        if not done or done % self.every or total is None:
            return
        total = max(done, total)  # a plan may have counted too few
        steps = max(1, done - self.first)
        left = (monotonic() - self.began) / steps * (total - done)
        count = f"{self.unit} {done // self.every}/{-(-total // self.every)}"
        parts = [count, stage, text, f"about {duration(left)} left"]
        tell("  ".join(part for part in parts if part), err=True)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def need(what: str, extra: str, *modules: str) -> None:
    """Raise the user's error where one of the modules is missing or itself incomplete."""
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                what, f"an environment without {error.name}", f"pip install 'uncollapse[{extra}]'"
            ) from error


@contextmanager
def runs_shown() -> Iterator[Callable[[Step], None]]:
    """What shows the runs of a pilot or stress test; interrupted, it says how they go on."""
    try:
        with bar("reading", "runs", every=("run", 1)) as update:

            def progress(step: Step) -> None:
                if step.text:
                    say(step.text)
                update(step.done, step.total, step.name, stage=step.stage)

            yield progress
    except KeyboardInterrupt:
        say("interrupted; rerun the same command to resume")
        raise typer.Exit(INTERRUPTED) from None
