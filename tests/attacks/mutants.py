"""A mutant: a subject's file after a few seeded edits, each by its name, so that it can shrink."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Mutant:
    """Edits are (family, place in it, seed)."""

    subject: Subject
    edits: tuple[tuple[str, int, int], ...]

    def content(self) -> bytes:
        """The file's bytes; an edit that what is left does not allow leaves them."""
        data = self.subject.content()
        for family, place, seed in self.edits:
            edit = edits_of(self.subject.kind, family)[place]
            try:
                data = edit(data, np.random.default_rng(seed))
            except Exception:  # a second edit may meet what the first has broken
                continue
        return data

    def smaller(self) -> Iterator["Mutant"]:
        """Without one of the edits."""
        for k in range(len(self.edits)):
            if len(self.edits) > 1:
                yield replace(self, edits=self.edits[:k] + self.edits[k + 1 :])

    def __str__(self) -> str:
        named = [f"{edits_of(self.subject.kind, f)[p].__name__}({s})" for f, p, s in self.edits]
        return f"{self.subject.name}: {' then '.join(named)}"


def edits_of(kind: str, family: str) -> tuple[Edit, ...]:
    return FAMILIES[family] if family in FAMILIES else STRUCTURE[kind]


def mutant(subject: Subject, seed: int) -> Mutant:
    """The mutant of a seed: mostly of the structure, one to three edits."""
    random = np.random.default_rng(seed)
    count = int(random.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    edits = []
    for _ in range(count):
        family = str(random.choice(["cut short", "bytes", "structure"], p=[0.1, 0.25, 0.65]))
        place = int(random.integers(len(edits_of(subject.kind, family))))
        edits.append((family, place, int(random.integers(1 << 40))))
    return Mutant(subject, tuple(edits))
