"""What a run writes down as it goes: metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from uncollapse.records import EpochLine
from uncollapse.storage import read_lines, unwritable, write_text


def read_journal(folder: Path) -> list[EpochLine]:
    """The lines of a run's metrics.jsonl; one cut short by a kill is left out."""
    path = folder / "metrics.jsonl"
    return [EpochLine.from_dict(line, str(path)) for line in read_lines(path)]


class Journal:
    """Writes one line per epoch, and the same numbers to TensorBoard.

    Lines of steps after `after_step` are dropped: a resumed run writes them again.
    """

    def __init__(self, folder: Path, *, after_step: int = 0) -> None:
        self.lines = [line for line in read_journal(folder) if line.step <= after_step]
        self._path = folder / "metrics.jsonl"
        self._board = _board(folder / "tensorboard", after_step)
        write_text(self._path, "".join(map(_text, self.lines)))

    def add(self, line: EpochLine) -> None:
        """Append a line."""
        self.lines.append(line)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_text(line))
        except OSError as error:
            raise unwritable(self._path, error) from error
        for name, value in [*line.numbers.items(), ("seconds", line.seconds)]:
            self._board.add_scalar(name, value, line.step)
        self._board.flush()

    def close(self) -> None:
        """Finish the TensorBoard file."""
        self._board.close()


def _text(line: EpochLine) -> str:
    return json.dumps(line.to_dict(), allow_nan=False) + "\n"


def _board(folder: Path, after_step: int) -> Any:
    # torch.utils.tensorboard looks for a TensorFlow that nothing else here uses.
    from torch.utils.tensorboard.writer import SummaryWriter

    make: Any = SummaryWriter
    return make(str(folder), purge_step=after_step + 1)
