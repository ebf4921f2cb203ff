"""The command `uncollapse` and how its errors leave the process."""

from __future__ import annotations

import os
import sys
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

app = typer.Typer(
    name="uncollapse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Predict, measure and prevent class collapse in supervised contrastive learning.",
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
    """Exit codes: 0 done, 1 a finding under --fail-on, 2 misuse or unusable input."""


app.command("demo")(demo_command)
app.command("predict")(predict_command)
app.command("explore")(explore_command)
app.command("measure")(measure_command)
app.command("compare")(compare_command)
app.command("train")(train_command)
app.command("embed")(embed_command)
app.command("probe")(probe_command)
app.command("pilot")(pilot_command)
app.command("simulate")(simulate_command)
app.command("report")(report_command)


# What typer raises for a wrong command line, whichever version of click stands behind it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        if len(sys.argv) == 1:
            app(["--help"], standalone_mode=False)
            code = 2
        else:
            code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except InputError as error:
        code = _refuse(str(error))
    except USAGE_ERROR as error:
        code = _refuse(_one_line(error))
    except BrokenPipeError:
        # The reader has left (a pipe into head): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _one_line(usage_error: Any) -> str:
    return " ".join(usage_error.format_message().split()) + " (see --help)"


def _refuse(message: str) -> int:
    typer.echo(f"uncollapse: error: {message}", err=True)
    return 2
