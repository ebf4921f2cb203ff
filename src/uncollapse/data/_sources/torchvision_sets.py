"""Data sets of torchvision by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uncollapse.data._source import DataSource, open_pixels, resolve
from uncollapse.data.config import TorchvisionConfig
from uncollapse.data.labels import built_in_maps
from uncollapse.errors import InputError

_LICENCES = {
    "CIFAR10": "none stated (Krizhevsky 2009)",
    "CIFAR100": "none stated (Krizhevsky 2009)",
    "FashionMNIST": "MIT (Zalando Research, Fashion-MNIST)",
}


def _part(config: TorchvisionConfig, root: Path, *, train: bool) -> Any:
    """torchvision's data set, which checks the MD5 sums before it unpickles CIFAR's files."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise InputError(
            "the package torchvision", str(error), "run `pip install 'uncollapse[train]'`"
        ) from error
    try:
        return getattr(datasets, config.name)(str(root), train=train, download=config.download)
    except (RuntimeError, OSError) as error:
        remedy = (
            "check the connection, or put torchvision's files there by hand"
            if config.download
            else "put torchvision's files there, or set `download: true`"
        )
        reason = str(error).splitlines()[0].split(" You can use")[0] if str(error) else repr(error)
        raise InputError(f"{config.name} in {root}", reason, remedy) from error


def list_torchvision(config: TorchvisionConfig, base: Path | None) -> DataSource:
    """A set of torchvision with its own test part."""
    root = resolve(config.root, base)
    parts = {"train": _part(config, root, train=True), "test": _part(config, root, train=False)}
    classes = tuple(parts["train"].classes)
    pixels = np.concatenate([np.asarray(part.data) for part in parts.values()])
    codes = np.concatenate([np.asarray(part.targets) for part in parts.values()])
    return DataSource(
        columns={"class": np.array(classes, object)[codes]},
        ids=np.array([f"{name}-{row:05d}" for name, p in parts.items() for row in range(len(p))]),
        open=open_pixels(pixels, config.image),
        label="class",
        split=np.repeat(list(parts), [len(part) for part in parts.values()]),
        orders={"class": classes},
        maps=built_in_maps(config.name),
        licence=_LICENCES[config.name],
    )
