"""Arrays of .npz files and of folders of .npy files. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._decode import fit_pixels
from uncollapse.data._inputs import ArrayInputs, OpenedInputs
from uncollapse.data._source import DataSource, place, texts
from uncollapse.data._sources.table import check_finite, text_roles
from uncollapse.data.config import ArraysConfig
from uncollapse.data.dataset import SPLIT_WORDS
from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.tables import ArraysShard, named_column, open_arrays

Array = NDArray[Any]
_DIMENSIONS = {"image": (3, 4), "vector": (2,), "views": (3,)}
_WANTED = {
    "image": "images (N, H, W) or (N, H, W, C) with C = 1 or 3",
    "vector": "vectors (N, D)",
    "views": "stored views (N, V, D)",
}


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


def _prepare(array: Array, config: ArraysConfig) -> Array:
    if config.kind == "image":
        return fit_pixels(_pixels(array, config.inputs), config.image)
    return array.astype(np.float32)


def _single(stored: ArraysShard, config: ArraysConfig) -> tuple[Array, str]:
    """The inputs, mapped where they are bytes of a .npy file beyond the budget."""
    array = stored.mapped(config.inputs)
    _check_shape(array, config, config.inputs)
    as_is = config.image.size is None and config.image.channels is None
    large = array.nbytes > config.memory_mib * 2**20
    fitting = array.dtype == (np.uint8 if config.kind == "image" else np.float32)
    if isinstance(array, np.memmap) and large and fitting and (as_is or config.kind != "image"):
        file = stored.path / f"{config.inputs}.npy"
        return array, f"{file.name}, {file.stat().st_size} bytes"
    return array, ""


def _parts(config: ArraysConfig, stored: ArraysShard) -> dict[str, str]:
    """Part -> the word for it in the names of the arrays."""
    words = {}
    for part, synonyms in SPLIT_WORDS.items():
        for word in synonyms:
            if config.inputs.replace("{split}", word) in stored.headers:
                words[part] = word
    if "train" not in words:
        named_column(stored, config.inputs.replace("{split}", "train"), "an embedding column")
    return words


def list_arrays(config: ArraysConfig, base: Path | None) -> DataSource:
    """Arrays by name; no such array, a wrong shape, NaN, objects are refused."""
    stored = open_arrays(place(config.path, base, "an .npz file or a folder of .npy files"))
    if "{split}" in config.inputs:
        return _list_parts(stored, config)
    named_column(stored, config.inputs, "an embedding column")
    columns = _columns(stored, config, config.inputs, "")
    array, mapped = _single(stored, config)

    def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
        if mapped:
            return ArrayInputs(array, config.kind, rows, mapped, config.kind == "image")
        return ArrayInputs(_prepare(np.asarray(array[rows]), config), config.kind)

    return DataSource(
        columns=columns,
        ids=np.array([f"row-{row}" for row in range(len(array))]),
        open=opener,
        label=config.label or "label",
    )


def _columns(stored: ArraysShard, config: ArraysConfig, inputs: str, word: str) -> dict[str, Array]:
    """The columns with a role, one value for each row of the inputs."""
    names = text_roles(config, stored, word)
    rows = stored.common_rows([inputs, *names.values()])
    read = next(stored.read([], list(names.values()), max(rows, 1)), {})
    return {role: texts(read.get(name, np.empty(0))) for role, name in names.items()}


def _list_parts(stored: ArraysShard, config: ArraysConfig) -> DataSource:
    """Parts in arrays of their own, as in train_images, val_images, test_images."""
    arrays: list[Array] = []
    columns: list[dict[str, Array]] = []
    words = _parts(config, stored)
    for word in words.values():
        name = config.inputs.replace("{split}", word)
        array = stored.whole(name)
        _check_shape(array, config, name)
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise InputError("parts of one shape", f"{array.shape} in {name!r}", "check the arrays")
        arrays.append(_pixels(array, name) if config.kind == "image" else array)
        columns.append(_columns(stored, config, name, word))
    whole = np.concatenate(arrays)
    ids = [f"{part}-{row}" for part, a in zip(words, arrays, strict=True) for row in range(len(a))]
    return DataSource(
        columns={role: np.concatenate([part[role] for part in columns]) for role in columns[0]},
        ids=np.array(ids),
        open=lambda rows, _: ArrayInputs(_prepare(whole[rows], config), config.kind),
        label=config.label or "label",
        split=np.repeat(list(words), [len(array) for array in arrays]),
    )
