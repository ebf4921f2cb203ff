"""The command line: each command parses, calls one library function, prints."""

from uncollapse.cli.app import app, main

__all__ = ["app", "main"]
