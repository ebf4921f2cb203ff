"""A column of names (labels, ids, groups) as integer codes, and the ids that a stream has seen."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples.embeddings import to_numpy

Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Codes of rows without a name, and of those with the label -1.
MISSING, UNLABELLED = -1, -2
# Bits of whole numbers in types that numpy does not have; of a float64 2^53.
_FEW_BITS = {"bfloat16": 8, "float8_e4m3fn": 4, "float8_e5m2": 3}
_LARGEST_FLOAT = 2.0**53
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,30}")


@dataclass(frozen=True)
class Codes:
    """A column of names as integers."""

    codes: Integers  # index of each row's name; below 0 without one: `MISSING`, `UNLABELLED`
    names: tuple[Any, ...]  # in sorted order

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Rows without a name, where there should be one."""
        return np.asarray(self.codes == MISSING)

    @property
    def unlabelled(self) -> NDArray[np.bool_]:
        """Rows that are marked as unlabelled, by the label -1."""
        return np.asarray(self.codes == UNLABELLED)

    def take(self, rows: NDArray[Any]) -> Codes:
        """Some of the rows, with all names."""
        return replace(self, codes=self.codes[rows])


def encode(values: Any, what: str, expected: int) -> Codes:
    """A column of names as integer codes; None, NaN and empty text are missing.

    `what` is its name in errors, `expected` the number of rows.
    """
    array, type_name = to_numpy(_as_held(values))
    if array.shape == (expected, 1):  # a column
        array = array[:, 0]
    if array.ndim != 1 or len(array) != expected:
        raise InputError(
            f"{what} with one entry for each of the {expected} rows",
            f"shape {tuple(array.shape)}",
            "give both in the same order and length",
        )
    if array.dtype == object:
        return _encode_objects(array, what)
    if array.dtype.kind in "iu" and expected:
        return _encode_integers(array)
    missing = np.zeros(expected, dtype=bool)
    if array.dtype.kind == "f":
        missing = np.isnan(array)
        bits = _FEW_BITS.get(type_name, np.finfo(array.dtype).nmant + 1)
        _refuse_merged(array[np.abs(array) >= 2.0**bits].tolist(), type_name, what)
    elif array.dtype.kind in "mM":
        missing = np.isnat(array)
    elif array.dtype.kind in "US":
        missing = array == array.dtype.type()
    codes = np.full(expected, MISSING, dtype=np.int64)
    unique, codes[~missing] = np.unique(array[~missing], return_inverse=True)
    names = unique.tolist()
    order = np.argsort([int(name) for name in names]) if _whole_numbers(names) else None
    if order is not None:
        place = np.argsort(order)
        names, codes[~missing] = [names[k] for k in order], place[codes[~missing]]
    return Codes(codes, tuple(_plain(name) for name in names))


def label_codes(values: Any, what: str, expected: int) -> Codes:
    """Labels as codes: -1 means that a row is unlabelled, other negative numbers mean nothing.

    Raises:
        InputError: A whole number below -1; text is a name whatever it says.
    """
    codes = encode(values, what, expected)
    number = [isinstance(name, int) and not isinstance(name, bool) for name in codes.names]
    for code, name in enumerate(codes.names):
        if number[code] and name < -1:
            rows = np.flatnonzero(codes.codes == code)
            raise InputError(
                f"labels of 0 or more, or -1 for unlabelled, in {what}",
                f"{name} in {len(rows)} of {expected} rows (first: row {rows[0]})",
                "mark rows without a label by -1; if it is a class, name it in text (--text)",
            )
    if -1 not in codes.names:
        return codes
    gone = codes.names.index(-1)
    shift = np.where(codes.codes > gone, codes.codes - 1, codes.codes)
    kept = tuple(name for code, name in enumerate(codes.names) if code != gone)
    return Codes(np.where(codes.codes == gone, UNLABELLED, shift), kept)


def _as_held(values: Any) -> Any:
    """A list as an array of what it holds: of 1 and "1", or 1 and 2.5, numpy makes one type."""
    if not isinstance(values, list | tuple):
        return values
    kinds = set(map(type, values))
    if len(kinds) > 1 or (kinds == {int} and np.asarray(values).dtype.kind == "f"):
        return np.array([*values, None], dtype=object)[:-1]
    return values


def _refuse_merged(values: Iterable[float], kind: str, what: str) -> None:
    """Raise where numbers are so large that one of their type stands for several whole numbers."""
    large = next((value for value in values if math.isfinite(value)), None)
    if large is not None:
        raise InputError(
            f"names that their type can distinguish in {what}",
            f"{large:.0f} as {kind}, which stands for several whole numbers",
            "keep them as integers or as text",
        )


def _encode_integers(array: NDArray[Any]) -> Codes:
    """By a table where the integers lie close together, which needs no sorting."""
    low, high = int(array.min()), int(array.max())
    if high - low > 4 * len(array) + 1024:
        names, codes = np.unique(array, return_inverse=True)
        return Codes(codes.astype(np.int64), tuple(names.tolist()))
    # In 64 bits: the difference of two small integers may need more bits than they have.
    wide = array.astype(np.uint64 if low >= 0 else np.int64)
    offsets = (wide - wide.dtype.type(low)).astype(np.int64)
    present = np.bincount(offsets, minlength=high - low + 1) > 0
    listed = tuple(low + offset for offset in np.flatnonzero(present).tolist())
    return Codes((np.cumsum(present) - 1)[offsets], listed)


def _encode_objects(array: NDArray[Any], what: str) -> Codes:
    numbers: dict[Any, int] = {}
    codes = np.empty(len(array), dtype=np.int64)
    for row, value in enumerate(array.tolist()):
        if value is None or value == "" or value != value:
            codes[row] = MISSING
            continue
        if isinstance(value, float) and abs(value) >= _LARGEST_FLOAT:
            _refuse_merged([value], "float64", what)
        try:
            # True is no 1.
            key = (isinstance(value, bool), value)
            codes[row] = numbers.setdefault(key, len(numbers))
        except TypeError as error:
            raise InputError(
                f"{what} of one name or number per row", f"a {type(value).__name__}", "flatten it"
            ) from error
    names = sorted_names(value for _, value in numbers)
    position = np.empty(len(names) + 1, dtype=np.int64)
    position[[numbers[isinstance(name, bool), name] for name in names]] = np.arange(len(names))
    position[-1] = MISSING
    return Codes(position[codes], tuple(_plain(name) for name in names))


def refuse_lookalikes(names: Iterable[Any], what: str) -> None:
    """Raise where names of several types are written alike, as 1 and "1" are."""
    seen: dict[str, Any] = {}
    for name in names:
        other = seen.setdefault(str(_plain(name)), name)
        if other is not name:
            raise InputError(
                f"{what} of one type",
                f"{other!r} ({type(other).__name__}) and {name!r} ({type(name).__name__})",
                "write them alike: all as text (--text), or all as numbers",
            )


def _whole_numbers(names: list[Any]) -> bool:
    """Whether names are text, and all of it whole numbers as Python writes them."""
    return all(isinstance(name, str) and _WHOLE.fullmatch(name) for name in names)


def sorted_names(names: Iterable[Any]) -> list[Any]:
    """Names in sorted order, whole numbers in text too; names of several types by type first."""
    names = list(names)
    try:
        return sorted(names, key=int) if _whole_numbers(names) else sorted(names)
    except TypeError:
        return sorted(names, key=lambda name: (type(name).__name__, str(name)))


def _plain(name: Any) -> Any:
    """A name as JSON would have it: whole floats are integers, bytes and infinity are text."""
    if isinstance(name, float) and not math.isfinite(name):
        return str(name)
    if isinstance(name, float) and name.is_integer():
        return int(name)
    if isinstance(name, bytes):
        return name.decode("utf-8", "backslashreplace")
    if isinstance(name, np.generic):
        return name.item()
    return name if isinstance(name, (int, float, str, bool)) else str(name)


def hash_ids(names: list[Any]) -> Hashes:
    """64 bits of each id, the same in every process; two of a billion ids collide at 3 %."""
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(f"{type(name).__name__}:{name}".encode(), digest_size=8).digest(),
                "little",
            )
            for name in names
        ],
        dtype=np.uint64,
    )


class RepeatedInstanceError(InputError):
    """An instance that came before, in an earlier part of a stream."""


class IdSet:
    """A set of hashes in a few sorted arrays, each at least twice the next."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> int:
        """Add distinct hashes; returns how many were there before."""
        new = np.sort(hashes)
        if not len(new):
            return 0
        again = 0
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, new), len(run) - 1)
            again += int(np.count_nonzero(run[place] == new))
        self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate([before, last]), kind="stable"))
        return again

    def sorted(self) -> Hashes:
        """All hashes."""
        if not self._runs:
            return np.zeros(0, dtype=np.uint64)
        return np.sort(np.concatenate(self._runs))
