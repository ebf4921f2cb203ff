"""What a saved state says of itself, and its arrays held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics._held import HeldRows
from uncollapse.metrics._reference import Reference
from uncollapse.metrics.features import COUNT, EXTRA
from uncollapse.records import Count, Document, JoinedBy, Part, PositiveCount
from uncollapse.tables import IdDigest

_Names = list[str | int | float | bool | None]


_OF_REFERENCE = ("name", "joined_by", "only_in_reference", "key")
_OF_HELD = ("dimension", "rows", "halvings", "alone", "dropped")


@dataclass(frozen=True, kw_only=True)
class StateReference(Part):
    """What a state says of the reference whose rows it holds."""

    name: str
    joined_by: JoinedBy
    dimension: PositiveCount
    rows: Count  # in both
    halvings: Annotated[int, Ge(0), Le(63)]  # of what was drawn of them
    labels: _Names
    groups: _Names
    alone: Count = 0
    only_in_reference: Count = 0
    dropped: dict[str, Count] = field(default_factory=dict)
    key: str | None = None
    ids: tuple[int, int] | None = None

    @classmethod
    def of(cls, held: HeldRows) -> StateReference:
        """Of what is held."""
        given = held.reference
        return cls(
            **{name: getattr(given, name) for name in _OF_REFERENCE},
            **{name: getattr(held, name) for name in _OF_HELD},
            labels=list(held.labels),
            groups=list(held.groups),
            ids=given.ids,
        )

    def held(self, arrays: Mapping[str, NDArray[Any]], dimension: int) -> HeldRows:
        """The rows that are held, of embeddings of so many dimensions.

        Raises:
            ValueError: The arrays are not those of such a state.
        """
        reference = Reference(
            None,
            **{name: getattr(self, name) for name in _OF_REFERENCE},
            ids=None if self.ids is None else IdDigest(*self.ids),
        )
        held = HeldRows(reference)
        for name in _OF_HELD:
            setattr(held, name, getattr(self, name))
        held.dropped = dict(self.dropped)
        held.labels, held.groups = (
            {name: number for number, name in enumerate(names)}
            for names in (self.labels, self.groups)
        )
        self._check(arrays, dimension, held)
        held.restore(arrays)
        return held

    def _check(self, arrays: Mapping[str, NDArray[Any]], dimension: int, held: HeldRows) -> None:
        rows = len(arrays["held_keys"])
        vectors = {"held_x": (rows, dimension), "held_y": (rows, self.dimension)}
        names = ("held_keys", "held_contents", "held_labels", "held_groups")
        wanted = vectors | {name: (rows,) for name in names if self.groups or name != names[-1]}
        shapes = {name: values.shape for name, values in arrays.items()}
        if wrong := sorted(
            name for name in {*shapes, *wanted} if shapes.get(name) != wanted.get(name)
        ):
            name = wrong[0]
            found, expected = (sizes.get(name, "missing") for sizes in (shapes, wanted))
            raise ValueError(f"rows of the reference: {name} is {found}, not {expected}")
        if rows > self.rows or sum(arrays[name].nbytes for name in vectors) > held.most_bytes:
            raise ValueError(f"{rows} rows of a reference, more than there were or are held")
        for name in vectors:
            if arrays[name].dtype != np.float64 or np.abs(arrays[name]).max(initial=0) > 1 + 1e-9:
                raise ValueError(f"{name} that are no means of unit vectors")
        for name in names[:2]:
            if arrays[name].dtype != np.uint64:
                raise ValueError(f"{name} that are no hashes")
        if (arrays["held_keys"] > held.limit).any():
            raise ValueError("rows of a reference that were not drawn")
        for name, known in (("held_labels", self.labels), ("held_groups", self.groups)):
            codes = arrays.get(name, np.zeros(0, np.int64))
            if codes.dtype != np.int64 or (codes < 0).any() or (codes >= len(known)).any():
                raise ValueError(f"{name} beyond the {len(known)} that there are")


@dataclass(frozen=True, kw_only=True)
class StateHeader(Document):
    """What a saved state says of itself beside its arrays; most of it as the accumulator has it."""

    kind: ClassVar[str] = "state"
    interval: Literal["exact", "blocks"]
    blocks: PositiveCount
    dropped: dict[str, Count]
    dtypes: list[str]
    normalised: bool
    views: bool
    dimension: Count
    rows: Count
    labels: _Names  # of the classes, in the order of the arrays
    samples: list[Count]  # rows of each class
    grouped: bool
    groups: _Names | None = None
    split: str | None = None  # of the rows, where the files say it
    stored: str | None = None  # what quantised rows hold
    copies_halved: Annotated[int, Ge(0), Le(63)] | None = None  # of which part copies were counted
    reference: StateReference | None = None  # whose rows the arrays held_... hold
    version: Annotated[int, Ge(1), Le(1)] = 1  # what files were counted by before there were kinds

    def __post_init__(self) -> None:
        if len(self.samples) != len(self.labels):
            raise InputError(
                "samples of every label", f"{len(self.samples)} of {len(self.labels)}", "save again"
            )


def check_arrays(header: StateHeader, arrays: dict[str, NDArray[Any]]) -> None:
    """Hold shapes and counts of a state's arrays against its header."""
    if arrays["ids"].ndim != 1 or arrays["ids"].dtype != np.uint64:
        raise ValueError("ids that are no hashes")
    copies = arrays.get("copies", np.zeros((3, 0), np.uint64))
    if copies.ndim != 2 or len(copies) not in (3, 4) or (copies[2] > max(header.rows, 0)).any():
        raise ValueError("copies that are no hashes with their counts")
    if len(copies) == 4:
        _check_copies(header, copies, arrays.get("units", np.zeros(0, np.int64)))
    held = {name: v.shape for name, v in arrays.items() if name not in ("ids", "copies")}
    if not held:
        return
    known, counts = len(header.labels), arrays.get("units")
    wanted = _shapes(header, arrays, 0 if counts is None else len(counts))
    if held != wanted:
        raise ValueError(f"arrays of shapes {held} where its header says {wanted}")
    # Sums over unit vectors, and squares of squares of how many there are.
    for name in ("totals", "scatter", "kept", "sums", "extras"):
        if np.abs(arrays.get(name, np.zeros(1))).max(initial=0) > max(header.rows, 2) ** 4:
            raise ValueError(f"{name} that {header.rows} rows cannot sum to")
    for name in ("units", "seen", "group_class", "scattered", "place"):
        index, least = arrays.get(name, np.zeros(0, np.int64)), -(name == "place")
        if index.dtype.kind not in "iu" or (index < least).any():
            raise ValueError(f"{name} that are no whole numbers from {least}")
    if header.grouped and (arrays["group_class"] >= known).any():
        raise ValueError("groups of no class")
    if header.grouped and (arrays["totals"][:, COUNT] <= 0).any():
        raise ValueError("groups without units")
    for name, last in (("scattered", len(arrays.get("units", ()))), ("place", len(held))):
        index = arrays.get(name, np.zeros(0, np.int64))
        last = len(arrays["sums"]) if name == "place" and "sums" in arrays else last
        if len(index) and (index.min() < -(name == "place") or index.max() >= last):
            raise ValueError(f"{name} beyond the {last} that there are")
        if len(np.unique(index[index >= 0])) < np.count_nonzero(index >= 0):
            raise ValueError(f"{name} with a number twice")
    if counts is not None:
        units = np.zeros(max(known, len(counts)), np.int64)
        units[: len(counts)] = counts
        if (units > np.pad(header.samples, (0, len(units) - known))).any():
            raise ValueError(f"units {counts.tolist()[:5]} of samples {header.samples[:5]}")
    if counts is not None and "totals" in arrays:
        rows = arrays["totals"][:, COUNT]
        if not np.allclose(rows, counts):
            raise ValueError(f"totals of {rows.tolist()[:5]} units, not {counts.tolist()[:5]}")


def _check_copies(header: StateHeader, copies: NDArray[Any], units: NDArray[Any]) -> None:
    """Hold the counts of distinct units, by class, against the units that there are."""
    places = len(header.groups or []) if header.grouped else len(header.labels)
    if (copies[3] >= places).any():
        raise ValueError("copies of no class, or of no group")
    if header.grouped:
        return
    known = max(places, len(units))
    counted = np.bincount(copies[3].astype(np.int64), copies[2].astype(np.float64), known)
    there = np.pad(units, (0, known - len(units)))
    if (counted > there).any() or (header.copies_halved == 0 and (counted != there).any()):
        raise ValueError(f"copies of {counted.tolist()[:5]} units, not {there.tolist()[:5]}")


def _shapes(
    header: StateHeader, arrays: Mapping[str, NDArray[Any]], classes: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of so many classes; those of older files have no index of their own."""
    d, width = header.dimension, header.dimension + EXTRA
    if header.grouped:
        groups = len(header.groups or [])
        return {"totals": (groups, width), "group_class": (groups,)}
    if header.interval == "blocks":
        rows = classes * header.blocks
        index = {"place": (rows,)} if "place" in arrays else {}
        rows = len(arrays["sums"]) if index else rows
        return {"sums": (rows, d), "extras": (rows, EXTRA), "units": (classes,), "seen": ()} | index
    if "scattered" not in arrays:
        square = (classes, width, width)
        return {"units": (classes,), "totals": square[:2], "scatter": square}
    scattered = arrays["scattered"]
    kept = int(arrays["units"].sum() - arrays["units"][scattered].sum())
    return {
        "units": (classes,),
        "totals": (classes, width),
        "scattered": (len(scattered),),
        "scatter": (len(scattered), width, width),
        "kept": (kept, width),
    }
