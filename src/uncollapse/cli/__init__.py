"""The command line: each command parses, calls one library function, prints."""

from uncollapse.cli._console import EXIT_CODES
from uncollapse.cli.app import app, main

__all__ = ["EXIT_CODES", "app", "main"]
