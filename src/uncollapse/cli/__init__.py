"""The command line: each command parses, calls one library function, prints."""

from uncollapse.cli.app import main

__all__ = ["main"]
