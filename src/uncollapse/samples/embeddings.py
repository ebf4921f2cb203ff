"""From what the caller has (arrays or tensors) to unit vectors and integer codes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

__all__ = ["Codes", "as_matrix", "encode", "row_norms", "sorted_names", "to_numpy", "unit_rows"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """A column of names as integers.

    Attributes:
        codes: One integer per row, -1 where the name is missing.
        names: The names in sorted order; `codes` index them.
    """

    codes: Integers
    names: tuple[Any, ...]


def to_numpy(values: Any) -> tuple[NDArray[Any], str]:
    """The values as a numpy array, and the name of the type they came in.

    Torch tensors are recognised by their methods, so torch is never imported here; types that
    numpy does not know (bfloat16) become float32, which holds every one of their values.
    """
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        name = str(values.dtype).removeprefix("torch.")
        tensor = values.detach().cpu()
        if name in {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
            tensor = tensor.float()
        return np.asarray(tensor.numpy()), name
    if np.ma.is_masked(values):
        values = np.where(np.ma.getmaskarray(values), None, values)  # What is masked is missing.
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(
            "rows of one length", f"rows that make no array ({error})", "give every row one length"
        ) from error
    return array, str(array.dtype)


def as_matrix(embeddings: Any) -> tuple[NDArray[Any], str, int]:
    """Embeddings as a matrix of rows, the name of their type, and the views per label.

    Args:
        embeddings: (N, d), or (N, p, d) for p views of each of N instances; any real or float type.

    Returns:
        The (N p, d) matrix, the type it came in, and p (1 for a matrix).
    """
    array, name = to_numpy(embeddings)
    if array.dtype == object:
        raise InputError(
            "embeddings of one length in a numeric array",
            "an array of objects (ragged rows?)",
            "give every row the same number of dimensions",
        )
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            "embeddings of shape (samples, dimensions) or (instances, views, dimensions)",
            f"shape {tuple(array.shape)}",
            "give one embedding per row",
        )
    if array.dtype.kind not in "fiu":
        raise InputError(
            "embeddings of a real number type", f"type {name}", "convert them to float32"
        )
    views = array.shape[1] if array.ndim == 3 else 1
    return array.reshape(-1, array.shape[-1]), name, views


def _squares(rows: Floats) -> Floats:
    """||row||^2 of each row; the faster vecdot came with numpy 2."""
    if hasattr(np, "vecdot"):
        return np.asarray(np.vecdot(rows, rows))
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def row_norms(rows: NDArray[Any]) -> Floats:
    """Euclidean norm of each row in float64; not finite where the row is not."""
    wide = np.asarray(rows, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(_squares(wide))
    unusual = ~((norms > 1e-150) & (norms < 1e150))
    if unusual.any():
        # The square over- or underflowed, or the row is zero or not finite: look again, scaled.
        largest = np.abs(wide[unusual]).max(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = wide[unusual] / largest[:, None]
            rescued = np.sqrt(_squares(scaled)) * largest
        norms[unusual] = np.where(largest == 0, 0.0, rescued)
    return np.asarray(norms, dtype=np.float64)


def unit_rows(rows: NDArray[Any]) -> Floats:
    """Each row divided by its norm, in float64.

    Half-precision rows are unit only to about 1e-3, which at a variance of 1e-3 is the whole
    signal; so every row is divided again by the norm of what is stored.
    """
    wide = np.asarray(rows, dtype=np.float64)
    return wide / row_norms(wide)[:, None]


def encode(values: Any, what: str, expected: int) -> Codes:
    """A column of labels or ids as integer codes; None, NaN and empty text are missing (-1).

    Args:
        values: A sequence, array or integer tensor with one entry per row.
        what: The name of the column in errors.
        expected: Number of rows.
    """
    array, _ = to_numpy(values)
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
    elif array.dtype.kind in "mM":
        missing = np.isnat(array)
    elif array.dtype.kind in "US":
        missing = array == array.dtype.type()
    codes = np.full(expected, -1, dtype=np.int64)
    names, codes[~missing] = np.unique(array[~missing], return_inverse=True)
    return Codes(codes, tuple(_plain(name) for name in names.tolist()))


def _encode_integers(array: NDArray[Any]) -> Codes:
    """By a table where the integers lie close together, which needs no sorting."""
    low, high = int(array.min()), int(array.max())
    if high - low > 4 * len(array) + 1024:
        found, codes = np.unique(array, return_inverse=True)
        return Codes(codes.astype(np.int64), tuple(found.tolist()))
    offsets = (array - array.dtype.type(low)).astype(np.int64)
    present = np.bincount(offsets, minlength=high - low + 1) > 0
    return Codes((np.cumsum(present) - 1)[offsets], tuple((np.flatnonzero(present) + low).tolist()))


def _encode_objects(array: NDArray[Any], what: str) -> Codes:
    found: dict[Any, int] = {}
    codes = np.empty(len(array), dtype=np.int64)
    for row, value in enumerate(array.tolist()):
        if value is None or value == "" or value != value:
            codes[row] = -1
            continue
        try:
            codes[row] = found.setdefault(value, len(found))
        except TypeError as error:
            raise InputError(
                f"{what} of one name or number per row", f"a {type(value).__name__}", "flatten it"
            ) from error
    names = sorted_names(found)
    position = np.empty(len(names) + 1, dtype=np.int64)
    position[[found[name] for name in names]] = np.arange(len(names))
    position[-1] = -1
    return Codes(position[codes], tuple(_plain(name) for name in names))


def sorted_names(names: Iterable[Any]) -> list[Any]:
    """Names in sorted order; names of several types by type first."""
    found = list(names)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=lambda name: (type(name).__name__, str(name)))


def _plain(name: Any) -> Any:
    """A name as JSON would have it: whole floats are integers, bytes and infinity are text."""
    if isinstance(name, float) and not math.isfinite(name):
        return str(name)
    if isinstance(name, float) and name.is_integer():
        return int(name)
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    if isinstance(name, np.generic):
        return name.item()
    return name if isinstance(name, (int, float, str, bool)) else str(name)
