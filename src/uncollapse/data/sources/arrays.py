"""Arrays of .npz files and of folders of .npy files. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data.config import ArraysConfig
from uncollapse.data.decode import Progress, fit_pixels
from uncollapse.data.inputs import ArrayInputs, OpenedInputs
from uncollapse.data.listing import Listing, place, texts
from uncollapse.data.sources.numbers import check_finite
from uncollapse.errors import InputError

__all__ = ["list_arrays"]

Array = NDArray[Any]
_DIMENSIONS = {"image": (3, 4), "vector": (2,), "views": (3,)}
_WANTED = {
    "image": "images (N, H, W) or (N, H, W, C) with C = 1 or 3",
    "vector": "vectors (N, D)",
    "views": "stored views (N, V, D)",
}
_PARTS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(file.stem for file in path.glob("*.npy"))
    try:
        with np.load(path, allow_pickle=False) as archive:
            return list(archive.files)
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"an .npz file, or a folder of .npy files, at {path}",
            "something else",
            "save the arrays with numpy.savez",
        ) from error


def _load(path: Path, name: str, names: list[str], *, mapped: bool = False) -> Array:
    """An array by name; of a folder it can be mapped instead of read."""
    if name not in names:
        raise InputError(
            f"an array {name!r} in {path}",
            f"arrays {', '.join(names) or 'none'}",
            "name one of them",
        )
    try:
        if path.is_dir():
            file = path / f"{name}.npy"
            found: Array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
            return found
        with np.load(path, allow_pickle=False) as archive:
            inside: Array = archive[name]
            return inside
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"a plain array {name!r} in {path}",
            str(error).splitlines()[0],
            "save it as numbers or text, not as objects",
        ) from error


def _column(array: Array, name: str, rows: int) -> Array:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != rows:
        raise InputError(
            f"one value of {name!r} for each of the {rows} rows", f"shape {array.shape}", "check it"
        )
    return texts(array)


def _pixels(images: Array, name: str) -> NDArray[np.uint8]:
    """Images as bytes: 0..255 as they are, floats in [0, 1] times 255."""
    if images.dtype == np.uint8:
        return images
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return images.astype(np.uint8)
    if images.dtype.kind in "fb" and low >= 0 and high <= 1:
        return np.rint(images.astype(np.float64) * 255).astype(np.uint8)
    raise InputError(
        f"images of 0..255, or floats in [0, 1], in {name!r}",
        f"{images.dtype} from {low} to {high}",
        "scale them",
    )


def _check_shape(array: Array, config: ArraysConfig, name: str) -> None:
    image = config.kind == "image"
    wrong = array.ndim not in _DIMENSIONS[config.kind] or 0 in array.shape
    if wrong or (image and array.ndim == 4 and array.shape[3] not in (1, 3)):
        first = image and array.ndim == 4 and array.shape[1] in (1, 3)
        raise InputError(
            f"{_WANTED[config.kind]} in {name!r}",
            f"shape {array.shape}",
            "move the channels last" if first else "check `inputs` and `kind`",
        )
    if array.dtype.kind not in "iufb":
        raise InputError(f"numbers in {name!r}", f"dtype {array.dtype}", "check `inputs`")
    if array.dtype.kind == "f":
        check_finite(array, name)


def _prepare(array: Array, config: ArraysConfig, name: str) -> Array:
    if config.kind == "image":
        return fit_pixels(_pixels(array, name), config.image)
    return array.astype(np.float32)


def _single(path: Path, config: ArraysConfig, names: list[str]) -> tuple[Array, str]:
    """The inputs, mapped where they are bytes of a .npy file beyond the budget."""
    array = _load(path, config.inputs, names, mapped=True)
    _check_shape(array, config, config.inputs)
    as_is = config.image.size is None and config.image.channels is None
    large = array.nbytes > config.memory_mib * 2**20
    fitting = array.dtype == (np.uint8 if config.kind == "image" else np.float32)
    if path.is_dir() and large and fitting and (as_is or config.kind != "image"):
        return array, f"{config.inputs}.npy, {(path / f'{config.inputs}.npy').stat().st_size} bytes"
    return array, ""


def _parts(config: ArraysConfig, names: list[str]) -> dict[str, str]:
    """Part -> the word for it in the names of the arrays."""
    found = {}
    for part, words in _PARTS.items():
        for word in words:
            if config.inputs.replace("{split}", word) in names:
                found[part] = word
    if "train" not in found:
        raise InputError(
            f"an array {config.inputs.replace('{split}', 'train')!r}",
            f"arrays {', '.join(names) or 'none'}",
            "check `inputs`",
        )
    return found


def list_arrays(config: ArraysConfig, base: Path | None) -> Listing:
    """Arrays by name.

    Raises:
        InputError: No such array, a wrong shape, NaN, arrays of objects.
    """
    path = place(config.path, base, "an .npz file or a folder of .npy files")
    names = _names(path)
    roles = [config.label or "label", *config.fine, *config.slices]
    roles += [name for name in (config.group, config.id, config.split.column) if name]
    if "{split}" in config.inputs:
        return _list_parts(path, config, names, list(dict.fromkeys(roles)))
    array, mapped = _single(path, config, names)

    def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
        if mapped:
            return ArrayInputs(array, config.kind, rows, mapped, config.kind == "image")
        return ArrayInputs(_prepare(np.asarray(array[rows]), config, config.inputs), config.kind)

    inside = [name for name in names if name != config.inputs]
    lengths = {name: _load(path, name, names, mapped=True) for name in inside}
    usable = [n for n, a in lengths.items() if a.ndim in (1, 2) and a.size == len(array)]
    wanted = usable + [name for name in roles if name in names and name not in usable]
    return Listing(
        columns={
            name: _column(lengths[name], name, len(array)) for name in wanted if name in lengths
        },
        ids=np.array([f"row-{row}" for row in range(len(array))]),
        open=opener,
        label="label" if "label" in names else None,
    )


def _list_parts(path: Path, config: ArraysConfig, names: list[str], roles: list[str]) -> Listing:
    """Parts in arrays of their own, as in train_images, val_images, test_images."""
    words = _parts(config, names)
    arrays: list[Array] = []
    split: list[str] = []
    ids: list[str] = []
    columns: dict[str, list[Array]] = {role: [] for role in roles}
    for part, word in words.items():
        name = config.inputs.replace("{split}", word)
        array = _load(path, name, names)
        _check_shape(array, config, name)
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise InputError("parts of one shape", f"{array.shape} in {name!r}", "check the arrays")
        arrays.append(_pixels(array, name) if config.kind == "image" else array)
        split += [part] * len(array)
        ids += [f"{part}-{row}" for row in range(len(array))]
        for role in roles:
            inside = role.replace("{split}", word)
            columns[role].append(_column(_load(path, inside, names), inside, len(array)))
    whole = np.concatenate(arrays)

    def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
        return ArrayInputs(_prepare(whole[rows], config, config.inputs), config.kind)

    return Listing(
        columns={role: np.concatenate(parts) for role, parts in columns.items()},
        ids=np.array(ids),
        open=opener,
        label=config.label or "label",
        split=np.array(split),
    )
