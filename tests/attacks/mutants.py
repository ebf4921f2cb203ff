"""A mutant: a subject's file after a few seeded edits, each by its name, so that it can shrink."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attacks.array_edits import IDX, NPY, NPZ, PICKLE, SAFETENSORS
from attacks.bytes_edits import FAMILIES, Edit
from attacks.subjects import Subject
from attacks.table_edits import ARROW, CSV, PARQUET, PICTURE
from attacks.tree_edits import JSON, JSONL, YAML, encoding

STRUCTURE: dict[str, tuple[Edit, ...]] = {
    "json": JSON,
    "jsonl": JSONL,
    "yaml": YAML,
    "npy": NPY,
    "npz": NPZ,
    "safetensors": SAFETENSORS,
    "csv": (*CSV, encoding),
    "parquet": PARQUET,
    "arrow": ARROW,
    "picture": PICTURE,
    "idx": IDX,
    "pickle": PICKLE,
}


# What stands where a file should: a command that waits for it, or reads for ever, is slow.
PLACES: tuple[Callable[[Path], None], ...] = (
    lambda path: path.mkdir(),
    lambda path: os.mkfifo(path),
    lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("nowhere"),
    lambda path: None,
)


@dataclass(frozen=True)
class Mutant:
    """Edits are (family, place in it, seed)."""

    subject: Subject
    edits: tuple[tuple[str, int, int], ...]

    def content(self) -> bytes:
        """The file's bytes; an edit that what is left does not allow leaves them."""
        data = self.subject.content()
        for family, place, seed in self.edits:
            if family == "place":
                continue
            edit = edits_of(self.subject.kind, family)[place]
            try:
                data = edit(data, np.random.default_rng(seed))
            except Exception:  # a second edit may meet what the first has broken
                continue
        return data

    def write(self, path: Path) -> None:
        """Put it where the command will look for it."""
        places = [place for family, place, _ in self.edits if family == "place"]
        if not places:
            path.write_bytes(self.content())
            return
        path.unlink()
        PLACES[places[-1]](path)

    def smaller(self) -> Iterator["Mutant"]:
        """Without one of the edits."""
        for k in range(len(self.edits)):
            if len(self.edits) > 1:
                yield replace(self, edits=self.edits[:k] + self.edits[k + 1 :])

    def __str__(self) -> str:
        named = [
            f"place {p}" if f == "place" else f"{edits_of(self.subject.kind, f)[p].__name__}({s})"
            for f, p, s in self.edits
        ]
        return f"{self.subject.name}: {' then '.join(named)}"


def edits_of(kind: str, family: str) -> tuple[Edit, ...]:
    return FAMILIES[family] if family in FAMILIES else STRUCTURE[kind]


def mutant(subject: Subject, seed: int) -> Mutant:
    """The mutant of a seed: mostly of the structure, one to three edits."""
    random = np.random.default_rng(seed)
    count = int(random.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    edits: list[tuple[str, int, int]] = []
    if random.random() < 0.02:
        return Mutant(subject, (("place", int(random.integers(len(PLACES))), 0),))
    for _ in range(count):
        family = str(random.choice(["cut short", "bytes", "structure"], p=[0.1, 0.25, 0.65]))
        place = int(random.integers(len(edits_of(subject.kind, family))))
        edits.append((family, place, int(random.integers(1 << 40))))
    return Mutant(subject, tuple(edits))
