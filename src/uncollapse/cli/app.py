"""The command `uncollapse` and how its errors leave the process."""

from __future__ import annotations

import os
import sys
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from uncollapse import __version__
from uncollapse.cli._console import EXIT_CODES, INTERRUPTED
from uncollapse.cli._options import grouped
from uncollapse.errors import InputError

COMMANDS = (
    "demo", "predict", "explore", "measure", "compare", "train", "embed", "probe", "pilot",
    "simulate", "report",
)  # fmt: skip
# Each is `NAME_command` in the file of its name, but for those that stand beside another.
BESIDE = {"explore": "report", "compare": "measure", "embed": "train"}


class _Commands(UserDict[str, Any]):
    """The commands by name, each imported when it is asked for: `--version` needs none of them."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f"uncollapse.cli.{self.data[name] or name}")
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, epilog=EXIT_CODES)(grouped(getattr(module, f"{name}_command")))
        return typer.main.get_command(single)


class _CommandGroup(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands({name: BESIDE.get(name) for name in COMMANDS})


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
) -> None:
    """Predict, measure and prevent class collapse in supervised contrastive learning.

    Answers go to stdout, as text or with --json as one JSON object; progress goes to stderr. The
    whole path on real data, a few minutes: `uncollapse demo`
    """


# What typer raises for a wrong command line, whichever version of click stands behind it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        words = sys.argv[1:]
        code = app(words or ["--help"], prog_name="uncollapse", standalone_mode=False) or 0
        code = code if words else 2
        sys.stdout.flush()
    except InputError as error:
        code = _refuse(str(error))
    except USAGE_ERROR as error:
        code = _refuse(_one_line(error))
    except typer.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has left (a pipe into head): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _one_line(usage_error: Any) -> str:
    """What is wrong, the option that was probably meant, and where to read on."""
    message = usage_error.format_message()
    if close := getattr(usage_error, "possibilities", None):
        message = f"{usage_error.message}. Did you mean {' or '.join(sorted(close))}?"
    where = usage_error.ctx.command_path if usage_error.ctx else "uncollapse"
    return f"{' '.join(message.split())} (see {where} --help)"


def _refuse(message: str) -> int:
    typer.echo(f"uncollapse: error: {message}", err=True)
    return 2
