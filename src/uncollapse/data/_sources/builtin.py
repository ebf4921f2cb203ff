"""Data sets by name: digits, Debian's Fashion-MNIST, the cells of elpv-dataset, torchvision's."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._images import Encoded
from uncollapse.data._sources import DataSource, resolve, texts
from uncollapse.data.config import (
    DigitsConfig,
    FashionMnistConfig,
    SolarCellsConfig,
    TorchvisionConfig,
)
from uncollapse.data.labels import built_in_maps
from uncollapse.errors import InputError

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Deflate makes a byte of 1,032 at most.
_MOST_PACKED = 1_100
_SEVERITIES = ("0", "1/3", "2/3", "1")
_SOLAR_CONDITIONS = tuple(f"{s} {cell}" for s in _SEVERITIES for cell in ("mono", "poly"))
_LICENCES = {
    "CIFAR10": "none stated (Krizhevsky 2009)",
    "CIFAR100": "none stated (Krizhevsky 2009)",
    "FashionMNIST": "MIT (Zalando Research, Fashion-MNIST)",
}


def list_digits(config: DigitsConfig, base: Path | None) -> DataSource:
    """scikit-learn's digits; their 17 levels 0..16 are spread over 0..255."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return DataSource(
        columns={"digit": texts(digits)},
        ids=np.array([f"digit-{row:04d}" for row in range(len(digits))]),
        inputs=pixels,
        label="digit",
        maps=built_in_maps("digits"),
        licence="BSD-3-Clause with scikit-learn (UCI, Optical Recognition of Handwritten Digits)",
    )


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of a gzipped idx file of bytes (http://yann.lecun.com/exdb/mnist/)."""
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, big-endian sizes, the bytes.
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * dimensions)
            shape = [int(length) for length in np.frombuffer(head[4:], ">u4")]
            fits = math.prod(shape) <= _MOST_PACKED * path.stat().st_size
            content = file.read(math.prod(shape) + 1) if fits else b""
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"a gzipped idx file in {path}", str(error), "install the data set again"
        ) from error
    whole = fits and len(shape) == dimensions and len(content) == math.prod(shape)
    if head[:4] != bytes([0, 0, 8, dimensions]) or not whole:
        raise InputError(
            f"an idx file of bytes with {dimensions} dimension(s) in {path}",
            f"{len(head + content)} bytes that begin with {head[:4].hex()}, for sizes {shape}",
            "install the data set again",
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _two_parts(
    name: str, classes: tuple[str, ...], parts: Mapping[str, tuple[NDArray[np.uint8], NDArray[Any]]]
) -> DataSource:
    """Images and class codes with a test part of their own."""
    rows = {part: len(codes) for part, (_, codes) in parts.items()}
    images, codes = (np.concatenate(arrays) for arrays in zip(*parts.values(), strict=True))
    return DataSource(
        columns={"class": np.array(classes, object)[codes]},
        ids=np.array([f"{part}-{row:05d}" for part in rows for row in range(rows[part])]),
        inputs=images,
        label="class",
        split=np.repeat(list(rows), list(rows.values())),
        orders={"class": classes},
        maps=built_in_maps(name),
        licence=_LICENCES[name],
    )


def list_fashion_mnist(config: FashionMnistConfig, base: Path | None) -> DataSource:
    """Fashion-MNIST with its own 10,000 test images."""
    folder = resolve(config.folder, base)
    parts = {}
    for prefix, part in (("train", "train"), ("t10k", "test")):
        paths = [folder / f"{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        for path in paths:
            if not path.is_file():
                raise InputError(
                    "the files of Fashion-MNIST",
                    f"no {path}",
                    "run `apt-get install dataset-fashion-mnist`, or set `folder`",
                )
        images, labels = _read_idx(paths[0], 3), _read_idx(paths[1], 1)
        if len(images) != len(labels) or labels.max(initial=0) >= len(_FASHION_CLASSES):
            raise InputError(
                f"a label 0 to 9 for each image in {folder}",
                f"{len(images)} images, {len(labels)} labels up to {labels.max(initial=0)}",
                "install the data set again",
            )
        parts[part] = (images, labels)
    return _two_parts("FashionMNIST", _FASHION_CLASSES, parts)


def list_solar_cells(config: SolarCellsConfig, base: Path | None) -> DataSource:
    """The solar cells of elpv-dataset, from the installed package; nothing of it is copied."""
    package = find_spec("elpv_dataset")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            "the package elpv-dataset",
            "it is not installed",
            "run `pip install 'uncollapse[solar]'` (images CC-BY-NC-SA-4.0)",
        )
    # Its own loader decodes all cells at full size (236 MB); the list lies beside them.
    folder = Path(next(iter(package.submodule_search_locations))) / "data"
    try:
        lines = (folder / "labels.csv").read_text(encoding="ascii").splitlines()
        table: list[list[Any]] = [line.split() for line in lines if line.strip()]
        names, chances, cells = zip(*table, strict=True)
        severity = [dict(enumerate(_SEVERITIES))[round(3 * float(p))] for p in chances]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"path, probability and kind of each cell in {folder / 'labels.csv'}",
            str(error),
            "install elpv-dataset 1.0 again",
        ) from error
    conditions = [f"{s} {cell}" for s, cell in zip(severity, cells, strict=True)]
    return DataSource(
        columns={
            "condition": texts(conditions),
            "probability": texts(severity),
            "cell": texts(cells),
        },
        ids=np.array([Path(name).stem for name in names]),
        inputs=Encoded(names, folder),
        label="condition",
        orders={"condition": _SOLAR_CONDITIONS, "probability": _SEVERITIES},
        maps=built_in_maps("solar-cells"),
        licence="CC-BY-NC-SA-4.0: no commercial use, no redistribution here (elpv-dataset)",
        notes=("cells of one module are not marked, so the split is by cell and not by module",),
    )


def list_torchvision(config: TorchvisionConfig, base: Path | None) -> DataSource:
    """A set of torchvision, which checks the MD5 sums before it unpickles CIFAR's files."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise InputError(
            "the package torchvision", str(error), "run `pip install 'uncollapse[train]'`"
        ) from error
    root = resolve(config.root, base)
    kind = partial(getattr(datasets, config.name), str(root), download=config.download)
    try:
        parts = {part: kind(train=part == "train") for part in ("train", "test")}
    except (RuntimeError, OSError) as error:
        remedy = (
            "check the connection, or put torchvision's files there by hand"
            if config.download
            else "put torchvision's files there, or set `download: true`"
        )
        reason = str(error).splitlines()[0].split(" You can use")[0] if str(error) else repr(error)
        raise InputError(f"{config.name} in {root}", reason, remedy) from error
    arrays = {
        part: (np.asarray(stored.data), np.asarray(stored.targets))
        for part, stored in parts.items()
    }
    return _two_parts(config.name, tuple(parts["train"].classes), arrays)
