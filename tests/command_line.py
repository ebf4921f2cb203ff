"""`uncollapse` and scripts in this process: a new one takes seconds to start Python and torch."""

import contextlib
import io
import os
import runpy
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from uncollapse.cli import main


def called(words: Sequence[str], out: io.StringIO, error: io.StringIO) -> int:
    """Exit code of a command line. As in a process of its own, warnings are no errors."""
    return _left(main, ["uncollapse", *words], out, error)


def _left(run: Callable[[], object], line: list[str], out: io.StringIO, error: io.StringIO) -> int:
    with (
        mock.patch.object(sys, "argv", line),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            run()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def script(path: str | Path, *words: str) -> CompletedProcess[str]:
    """`python PATH WORDS`, with what it prints to stdout and to stderr."""
    out, error, line = io.StringIO(), io.StringIO(), [str(path), *words]
    with mock.patch.object(sys, "path", [str(Path(path).parent.resolve()), *sys.path]):
        code = _left(lambda: runpy.run_path(line[0], run_name="__main__"), line, out, error)
    return CompletedProcess(line, code, out.getvalue(), error.getvalue())


def call(*words: str) -> CompletedProcess[str]:
    """A command with what it prints to stdout and to stderr."""
    out, error = io.StringIO(), io.StringIO()
    code = called(words, out, error)
    return CompletedProcess(words, code, out.getvalue(), error.getvalue())


def run_here(command: str) -> tuple[int, str]:
    """Exit code of a line of a page, and what a terminal of 100 columns shows.

    `> FILE` at its end sends stdout there.
    """
    name, *words = shlex.split(command)
    assert name == "uncollapse"
    shown = kept = io.StringIO()
    target = None
    if ">" in words:
        at = words.index(">")
        words, target, kept = words[:at], words[at + 1], io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "100"}):
        code = called(words, kept, shown)
    if target:
        Path(target).write_text(kept.getvalue(), "utf-8")
    return code, shown.getvalue()
