"""Work that may be killed: its result is a file, so whoever finds it need not do it again."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from uncollapse.records import Document
from uncollapse.storage import write_json

R = TypeVar("R", bound=Document)


class StoppedError(RuntimeError):
    """The run was asked to stop; it goes on when it is run again."""


class Work(ABC, Generic[R]):
    """Plain data, so that it goes to another process or machine; a pool runs it.

    Its result is a document with a field `seconds`.
    """

    folder: Path

    @property
    @abstractmethod
    def result(self) -> Path:
        """Where the result is written."""

    @abstractmethod
    def read(self) -> R | None:
        """The result, or None if there is none yet, or one of before that lacks something."""

    @abstractmethod
    def attempt(self) -> R:
        """Do it, going on with what an earlier attempt left in the folder."""

    @property
    def mark(self) -> Path:
        """A file that holds the process number while it runs."""
        return self.folder / "running"

    def run(self) -> R:
        """Do what is left; the result has the seconds of this attempt.

        An `InputError` is a setting that cannot be trained: a loss not finite, a batch too large.
        """
        if (done := self.read()) is not None:
            return done
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mark.write_text(str(os.getpid()), encoding="utf-8")
        started = time.monotonic()
        try:
            found: Any = self.attempt()
        finally:
            self.mark.unlink(missing_ok=True)
        timed: R = replace(found, seconds=round(time.monotonic() - started, 2))
        write_json(self.result, timed.to_dict())
        return timed
