"""The command `uncollapse` and how its errors leave the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from uncollapse import __version__
from uncollapse.cli.compare import compare_command
from uncollapse.cli.demo import demo_command
from uncollapse.cli.explore import explore_command
from uncollapse.cli.measure import measure_command
from uncollapse.cli.pilot import pilot_command
from uncollapse.cli.predict import predict_command
from uncollapse.cli.probe import probe_command
from uncollapse.cli.report import report_command
from uncollapse.cli.simulate import simulate_command
from uncollapse.cli.train import embed_command, train_command
from uncollapse.errors import InputError

EXIT_CODES = (
    "Exit codes: 0 done; 1 a finding under --fail-on; 2 misuse or unusable input, said in one line "
    "on stderr; 130 interrupted."
)

# Plain help: brackets in a text are no markup, and no column is cut at 80 characters.
app = typer.Typer(
    name="uncollapse",
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


def _add(name: str, command: Callable[..., None]) -> None:
    app.command(name, epilog=EXIT_CODES)(command)


_add("demo", demo_command)
_add("predict", predict_command)
_add("explore", explore_command)
_add("measure", measure_command)
_add("compare", compare_command)
_add("train", train_command)
_add("embed", embed_command)
_add("probe", probe_command)
_add("pilot", pilot_command)
_add("simulate", simulate_command)
_add("report", report_command)


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
        code = 130
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
