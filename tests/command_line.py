"""`uncollapse` in this process: a new one takes seconds to start Python and torch."""

import contextlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from uncollapse.cli import main


def called(words: Sequence[str], out: io.StringIO, error: io.StringIO) -> int:
    """Exit code of a command line. As in a process of its own, warnings are no errors."""
    with (
        mock.patch.object(sys, "argv", ["uncollapse", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            main()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


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
