"""What a run keeps: the reference of its rows, from which the loss is told at every step."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.losses import PreparedReference, prepare_reference, retention_terms
from uncollapse.records import KeptReference
from uncollapse.storage import beside
from uncollapse.training.embedding import embed_rows, joined
from uncollapse.training.encoders import Encoder, build_encoder
from uncollapse.training.problem import Problem

FILE = "reference.npy"
# Of an image, to a side: more would say little more inside a class and cost as much as the loss.
MOST_PIXELS = 32
# A wider reference is kept on so many columns at most, fewer where they agree with it so far.
MOST_COLUMNS, AGREEMENT = 64, 0.99
_BLOCK = 1024
# What numpy raises for a header that makes no sense.
_DAMAGED = (OSError, ValueError, TypeError, SyntaxError, OverflowError, RecursionError, TokenError)

Rows = NDArray[np.float32]


@dataclass
class Beside:
    """The reference of a run's training and validation rows.

    Attributes:
        table: (n, e) of the rows that `places` points to; None where it is the run's own backbone.
        places: (N,) the entry of each row of the data, -1 for none.
        ready: The table as the loss takes it, on few columns where it is wide.
        seen: The backbone's output in the latest forward pass, without its graph.
    """

    problem: Problem
    table: Tensor | None = None
    places: NDArray[np.int64] | None = None
    ready: PreparedReference | None = None
    seen: Tensor | None = None

    @property
    def record(self) -> KeptReference:
        """For run.json."""
        loss, table = self.problem.config.loss, self.table
        assert loss.reference is not None  # the configuration has been checked
        digest = None
        if table is not None:
            digest = hashlib.sha256(table.numpy().tobytes()).hexdigest()
        kept = KeptReference(loss.keep, loss.reference, fingerprint=digest)
        if self.ready is None:
            return kept
        columns, agreement = self.ready.rows.shape[1], self.ready.agreement
        return replace(kept, dimension=self.ready.dimension, columns=columns, agreement=agreement)

    def prepare(self, share: Callable[[PreparedReference | None], PreparedReference]) -> None:
        """Make the table ready for every step; `share` gives all processes that of the first."""
        if self.table is None or self.places is None:
            return
        labels = np.full(len(self.table), -1)
        labels[self.places[self.problem.rows]] = self.problem.data.labels[self.problem.rows]
        self.ready = share(_ready(self.table, torch.from_numpy(labels)))

    def watch(self, model: Encoder) -> None:
        """See the output of the model's backbone, if that is the reference."""
        if self.table is None:
            model.backbone.register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.seen = output.detach()

    def of(self, rows: Tensor, views: int, device: torch.device) -> Tensor | PreparedReference:
        """(n, e) of some rows of the data, or (n, p, e) of the views just embedded."""
        if self.ready is None or self.places is None:
            assert self.seen is not None  # the caller has embedded them
            seen = self.seen.float()
            return seen.view(-1, views, seen.shape[1])
        return self.ready[torch.from_numpy(self.places[rows.numpy()])].to(device)

    def measured(self, layers: dict[str, Rows]) -> dict[str, float]:
        """Retention of the validation rows; nothing where no class has enough of them."""
        rows, data = self.problem.validation, self.problem.data
        if self.table is None or self.places is None:
            reference = torch.from_numpy(layers["backbone"])
        else:
            reference = self.table[torch.from_numpy(self.places[rows])]
        try:
            kept = retention_terms(
                torch.from_numpy(layers["projector"]),
                reference,
                torch.from_numpy(data.labels[rows]),
            )
        except InputError:  # no class of four rows, or a collapse to the zero vector
            return {}
        return {"projector/retention": 1 - float(kept.loss)}


def beside_of(
    problem: Problem,
    folder: Path,
    device: torch.device,
    self_supervised: Callable[[], Encoder],
    *,
    writes: bool,
) -> Beside | None:
    """The reference that the configuration keeps, before the model is trained; None without keep.

    What an encoder gives is stored in the run's folder by the process that `writes`, and read there
    when the run is resumed.
    """
    loss = problem.config.loss
    if not loss.keep:
        return None
    if loss.reference == "backbone":
        return Beside(problem)
    rows = np.concatenate([problem.rows, problem.validation])
    places = np.full(len(problem.data.ids), -1)
    places[rows] = np.arange(len(rows))
    from_encoder = loss.reference in ("base", "self-supervised")
    if from_encoder and (folder / FILE).is_file():
        table = _read(folder / FILE, len(rows))
    elif loss.reference == "stored":
        table = stored_rows(problem, rows)
    elif loss.reference == "input":
        table = input_rows(problem, rows)
    else:
        encoder = (
            self_supervised() if loss.reference == "self-supervised" else base_encoder(problem)
        )
        table = embedded(problem, copy.deepcopy(encoder).to(device), rows)
        if writes:
            with beside(folder / FILE) as part, part.open("wb") as file:
                np.save(file, table, allow_pickle=False)
    _check(table, problem, rows)
    return Beside(problem, torch.from_numpy(table), places)


def _ready(table: Tensor, labels: Tensor) -> PreparedReference:
    """Unit rows, on few columns where there are many and a class has rows to choose them by."""
    if table.shape[1] > MOST_COLUMNS:
        with suppress(InputError):
            return prepare_reference(table, labels, columns=MOST_COLUMNS, agreement=AGREEMENT)
    return prepare_reference(table)


def _read(path: Path, count: int) -> Rows:
    remedy = f"take {path} out, and it is made again"
    try:
        # Mapped, so that no memory is asked for what a damaged header declares.
        table = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise InputError(f"the reference in {path}", str(error)[:120], remedy) from error
    if table.ndim != 2 or len(table) != count or table.dtype != np.float32:
        found = f"{table.dtype} of shape {table.shape}"
        raise InputError(f"{count} rows of float32 in {path}", found, remedy)
    return np.array(table)


def stored_rows(problem: Problem, rows: NDArray[np.int64]) -> Rows:
    """Their vectors in `data.reference`, each of which is there."""
    assert problem.data.beside is not None  # the configuration has been checked
    table = np.asarray(problem.data.beside[rows])
    _check(table, problem, rows)
    return table


def input_rows(problem: Problem, rows: NDArray[np.int64]) -> Rows:
    """Rows as the encoder receives them, without augmentation, as vectors."""
    parts = []
    for start in range(0, len(rows), _BLOCK):
        raw = problem.data.inputs.read(rows[start : start + _BLOCK])
        parts.append(flat_inputs(problem.augmenter.plain(raw)).numpy())
    return np.concatenate(parts)


def flat_inputs(inputs: Tensor) -> Tensor:
    """Inputs as vectors; images larger than `MOST_PIXELS` a side are averaged down."""
    if inputs.ndim == 4:
        height, width = (min(side, MOST_PIXELS) for side in inputs.shape[-2:])
        inputs = nn.functional.adaptive_avg_pool2d(inputs, (height, width))
    return inputs.flatten(1)


def base_encoder(problem: Problem) -> Encoder:
    """The encoder as it is before training, or with other weights."""
    config, data = problem.config, problem.data
    if config.loss.base is None:
        return problem.model
    shape = data.inputs.shape[1:] if data.inputs.kind == "views" else data.inputs.shape
    encoder = config.encoder.model_copy(update={"weights": config.loss.base})
    return build_encoder(encoder, config.head, shape, seed=config.seed, base=problem.base)


def embedded(problem: Problem, encoder: Encoder, rows: NDArray[np.int64]) -> Rows:
    """(n, e): the backbone's output for rows as they are."""
    batches = embed_rows(encoder, problem.data, rows, problem.augmenter)
    return np.ascontiguousarray(joined(batches)["backbone"][:, 0])


def _check(table: Rows, problem: Problem, rows: NDArray[np.int64]) -> None:
    """Refuse a reference without a row, or with one that has no direction, before training."""
    bad = np.flatnonzero(~(np.isfinite(table).all(axis=1) & table.any(axis=1)))
    if len(bad):
        first = problem.data.ids[rows[bad[0]]]
        raise InputError(
            "a finite reference other than 0 of every training and validation row",
            f"none of {len(bad)} rows, the first {str(first)!r}",
            "complete it, leave these rows out, or take another loss.reference",
        )
