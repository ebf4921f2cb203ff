"""The command `uncollapse` and how its errors leave the process."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections import UserDict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from uncollapse import __version__
from uncollapse.cli._console import (
    CLOSED_PIPE,
    EXIT_CODES,
    FAULT,
    INTERRUPTED,
    prepare_streams,
)
from uncollapse.cli._options import grouped
from uncollapse.errors import InputError, nearest, shown

COMMANDS = (
    "demo", "predict", "calibrate", "explore", "measure", "compare", "train", "embed", "probe",
    "pilot", "stress", "benchmark", "simulate", "report", "decode-loss",
)  # fmt: skip
# Each is `NAME_command` in the file of its name, but for those that stand beside another.
BESIDE = {
    "explore": "report", "compare": "measure", "embed": "train", "decode-loss": "decode",
}  # fmt: skip


class _Commands(UserDict[str, Any]):
    """The commands by name, each imported when it is asked for: `--version` needs none of them."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f"uncollapse.cli.{self.data[name] or name}")
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        command = getattr(module, f"{name.replace('-', '_')}_command")
        single.command(name, epilog=EXIT_CODES)(grouped(command))
        return typer.main.get_command(single)


class _ClosedPipeError(Exception):
    """Who read stdout has left; click would end with exit code 1, which is a finding here."""


class _CommandGroup(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands({name: BESIDE.get(name) for name in COMMANDS})

    def invoke(self, ctx: Any) -> Any:
        """As in click, but a closed pipe is told apart."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ClosedPipeError from error


# Plain help: brackets in a text are no markup, and no column is cut at 80 characters.
app = typer.Typer(
    name="uncollapse",
    cls=_CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"uncollapse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a fault (UNCOLLAPSE_DEBUG=1).")
    ] = False,
) -> None:
    """Predict, measure and prevent class collapse in supervised contrastive learning.

    Answers go to stdout, as text or with --json as one JSON object; progress goes to stderr. The
    whole path on real data, a few minutes: `uncollapse demo`
    """


# What the system says of names that no file can have.
_NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)
# What writing to stdout may end in: a full disk, a broken device, a closed descriptor.
_UNWRITTEN = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
# What typer raises for a wrong command line, whichever version of click stands behind it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    prepare_streams()
    words = sys.argv[1:]
    debug = "--debug" in words or bool(os.environ.get("UNCOLLAPSE_DEBUG"))
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words or ["--help"], prog_name="uncollapse", standalone_mode=False) or 0
        code = code if words else 2
        sys.stdout.flush()
    except Exception as error:
        if debug and not isinstance(
            error, InputError | USAGE_ERROR | typer.Abort | _ClosedPipeError
        ):
            traceback.print_exc()
        code = _ended(error)
    sys.exit(code)


def _ended(error: Exception) -> int:
    """What is said of an error, and the exit code."""
    if isinstance(error, InputError):
        return _refuse(_by_options(str(error)))
    if isinstance(error, USAGE_ERROR):
        return _refuse(_one_line(error))
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, _ClosedPipeError | BrokenPipeError):
        # The reader has left (a pipe into head): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    if isinstance(error, MemoryError):
        what = "memory for all of it", "too little", "give fewer rows, or measure with --stream"
        return _refuse(str(InputError(*what)))
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITTEN:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = "a stdout that takes the answer", str(error.strerror), "send it elsewhere"
        return _refuse(str(InputError(*what)))
    if isinstance(error, OSError) and error.errno in _NO_NAME:
        refused = InputError(f"a path, not {error.filename}", str(error.strerror), "check the path")
        return _refuse(str(refused))
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}: {error}"
    typer.echo(
        f"uncollapse: a fault of ours, not of your input: {shown(said)}; please report it with "
        "what --debug shows",
        err=True,
    )
    return FAULT


def _one_line(usage_error: Any) -> str:
    """What is wrong, the option that was probably meant, and where to read on."""
    message = usage_error.format_message()
    if close := getattr(usage_error, "possibilities", None):
        message = f"{usage_error.message}. Did you mean {' or '.join(sorted(close))}?"
    elif near := _near_choice(message):
        message = f"{message.rstrip('.')}. Did you mean {near!r}?"
    where = usage_error.ctx.command_path if usage_error.ctx else "uncollapse"
    message = message.replace("Value error, ", "").replace("Input should be", "it must be")
    message = re.sub(r", unable to parse string as an? \w+", "", message)
    return f"{shown(' '.join(message.split()))} (see {where} --help)"


def _by_options(message: str) -> str:
    """A library's message with options in place of parameters, where a command has such ones."""
    name = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", message))
    if name is None or not words:
        return message
    group: Any = typer.main.get_command(app)
    for option in group.commands[name].params:
        if option.name in words and option.param_type_name == "option":
            # Not in a path or in quotes; a message of both readers names the option behind it.
            flag = option.opts[0]
            both = rf"(?<![\w/.'-]){option.name}(?![\w/.'-])(?: \({flag}\))?"
            message = re.sub(both, flag, message)
    return message


def _near_choice(message: str) -> str | None:
    """The nearest of an option's values to one that is none of them, as typer says it."""
    wrong = re.search(r"'([^']*)' is not one of (.*)", message, re.DOTALL)
    return nearest(wrong[1], re.findall(r"'(.*?)'", wrong[2])) if wrong else None


def _refuse(message: str) -> int:
    typer.echo(f"uncollapse: error: {message}", err=True)
    return 2
