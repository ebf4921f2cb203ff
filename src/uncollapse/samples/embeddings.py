"""From what the caller has (arrays or tensors) to a matrix, its norms and unit vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples.arrow_values import arrow_values, is_arrow

Floats = NDArray[np.float64]

# Numbers that are converted to float64 at once: the copies stay in the processor's cache.
_CHUNK = 1 << 16
# Rows of these types are of unit norm only to about their precision.
_HALF = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


# Whole numbers of fewer levels are counts, or pixels of few shades, and no codes.
_FEW_LEVELS = 64

_CAME_AS = "came_as"  # where an array's type says the name of another that numpy does not have


def to_numpy(values: Any) -> tuple[NDArray[Any], str]:
    """The values as a numpy array, and the name of the type they came in.

    Torch tensors are recognised by their methods, so torch is never imported here; types that
    numpy does not know (bfloat16) become float32, which holds every one of their values. Columns of
    Arrow are taken as they lie in memory, and rows of one length (arrays, tensors, lists) stacked.
    """
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        name = str(values.dtype).removeprefix("torch.")
        tensor = values.detach().cpu()
        if name in {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
            tensor = tensor.float()
        return np.asarray(tensor.numpy()), name
    if is_arrow(values) and not isinstance(getattr(values, "dtype", None), np.dtype):
        array = arrow_values(values)
        return array, str(array.dtype)
    if isinstance(values, list | tuple) and values and hasattr(values[0], "detach"):
        return _of_rows(values)
    if np.ma.is_masked(values):
        values = np.where(np.ma.getmaskarray(values), None, values)  # What is masked is missing.
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(
            "rows of one length", f"rows that make no array ({error})", "give every row one length"
        ) from error
    if array.dtype == object and array.ndim == 1:
        first = next((value for value in array if value is not None), None)
        if isinstance(first, list | tuple | np.ndarray) or hasattr(first, "detach"):
            return _of_rows(array)
    remembered: Mapping[str, Any] = array.dtype.metadata or {}
    return array, remembered.get(_CAME_AS, str(array.dtype))


def _of_rows(values: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Rows of one length, each an array, tensor or list, as one array."""
    rows = [to_numpy(value) for value in values]
    shapes = dict.fromkeys(row.shape for row, _ in rows)
    if len(shapes) > 1:
        listed = " and ".join(map(str, list(shapes)[:3]))
        raise InputError("rows of one length", f"shapes {listed}", "give every row one length")
    return np.stack([row for row, _ in rows]), rows[0][1]


def as_it_came(values: Any) -> NDArray[Any]:
    """The values as a numpy array whose type, and its slices', remembers the one they came in."""
    array, name = to_numpy(values)
    if name == str(array.dtype):
        return array
    return array.view(np.dtype(array.dtype, metadata={_CAME_AS: name}))


def stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays one after the other; the type of the whole remembers those that they came in."""
    names = list(dict.fromkeys(to_numpy(array)[1] for array in arrays))
    if len(names) == 1:
        return np.concatenate(arrays, dtype=arrays[0].dtype)  # Given the type, it is remembered.
    whole = np.concatenate(arrays)
    return whole.view(np.dtype(whole.dtype, metadata={_CAME_AS: ", ".join(names)}))


def as_matrix(embeddings: Any) -> tuple[NDArray[Any], str, int]:
    """Embeddings (N, d), or (N, p, d) for p views of each instance, as (N p, d); type and p."""
    array, name = to_numpy(embeddings)
    given = type(embeddings)
    library = given.__module__.partition(".")[0]
    if array.dtype == object and library not in ("builtins", "numpy", "pandas"):
        raise InputError(
            "an array of embeddings, or a table",
            f"a {given.__name__} of {library}",
            "hand over what it holds, as by collect(), to_table(), to_arrow() or "
            "with_format('arrow')[:]",
        )
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


def squares(rows: NDArray[Any]) -> NDArray[Any]:
    """||row||^2 of each row; the faster vecdot came with numpy 2."""
    if hasattr(np, "vecdot"):
        return np.asarray(np.vecdot(rows, rows))
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def row_norms(rows: NDArray[Any]) -> Floats:
    """Euclidean norm of each row in float64; not finite where the row is not."""
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    if len(rows) <= step or rows.dtype == np.float64:
        return _norms(np.asarray(rows, dtype=np.float64))
    starts = range(0, len(rows), step)
    return np.concatenate([row_norms(rows[start : start + step]) for start in starts])


def _norms(wide: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(squares(wide))
    unusual = ~((norms > 1e-150) & (norms < 1e150))
    if unusual.any():
        # The square over- or underflowed, or the row is zero or not finite: look again, scaled.
        largest = np.abs(wide[unusual]).max(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = wide[unusual] / largest[:, None]
            rescued = np.sqrt(squares(scaled)) * largest
        norms[unusual] = np.where(largest == 0, 0.0, rescued)
    return np.asarray(norms, dtype=np.float64)


def is_unit(norms: Floats, dtype: str) -> bool:
    """Whether rows with these norms are unit vectors: to 1e-3, or 1e-2 if any are halves.

    Examples:
        >>> is_unit(np.array([1.004]), "float16"), is_unit(np.array([1.004]), "float32")
        (True, False)
    """
    half = any(name in _HALF for name in dtype.split(", "))
    return bool(np.all(np.abs(norms - 1) < (1e-2 if half else 1e-3)))


def unit_rows(rows: NDArray[Any]) -> Floats:
    """Each row divided by its norm, in float64.

    Half-precision rows are unit only to about 1e-3, which at a variance of 1e-3 is the whole
    signal; so every row is divided again by the norm of what is stored.
    """
    wide = np.asarray(rows, dtype=np.float64)
    ours = wide if wide.dtype != rows.dtype else None  # a copy already, whose memory can be used
    return np.asarray(np.divide(wide, row_norms(wide)[:, None], out=ours))


def stored_as(rows: NDArray[Any]) -> str:
    """What quantised rows hold: "uint8", "int8", "signs" (of two values, 1 and -1), else "".

    Examples:
        >>> stored_as(np.array([[1.0, -1.0], [-1.0, 1.0]])), stored_as(np.eye(3))
        ('signs', '')
    """
    first = rows[:8]
    if not rows.size or (rows.dtype.kind == "f" and not (first == np.trunc(first)).all()):
        return ""
    low, high = float(rows.min()), float(rows.max())
    if not (np.isfinite(low) and low >= -128 and high <= 255):
        return ""
    if low == -1 and high == 1:
        return "signs" if bool((np.abs(rows) == 1).all()) else ""
    if high - low <= _FEW_LEVELS or (low < 0 and high > 127):
        return ""
    if rows.dtype.kind == "f" and not (rows == np.trunc(rows)).all():
        return ""
    return "uint8" if low >= 0 else "int8"
