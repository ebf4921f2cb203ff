"""One `uncollapse` command in this process: a new one takes seconds to start Python and torch."""

import contextlib
import io
import os
import shlex
import sys
import warnings
from pathlib import Path
from unittest import mock

from uncollapse.cli.app import main


def run_here(command: str) -> tuple[int, str]:
    """Exit code, and what it prints to stdout and stderr as a terminal shows it.

    `> FILE` at its end sends stdout there. As in a process of its own, warnings are no errors.
    """
    words = shlex.split(command)
    target = words[words.index(">") + 1] if ">" in words else None
    words = words[: words.index(">")] if target else words
    shown, kept = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, {"COLUMNS": "100"}),
        contextlib.redirect_stdout(kept if target else shown),
        contextlib.redirect_stderr(shown),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    if target:
        Path(target).write_text(kept.getvalue(), "utf-8")
    return code, shown.getvalue()
