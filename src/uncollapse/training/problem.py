"""What a run trains on, built from its configuration: data, batches, model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from uncollapse.data import (
    Augmenter,
    LabelledData,
    Sampler,
    load_data,
    make_sampler,
    training_scales,
)
from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet
from uncollapse.records import Setting
from uncollapse.training.config import TrainConfig
from uncollapse.training.encoders import Encoder, build_encoder, evaluation_mode


@dataclass(frozen=True)
class Problem:
    """Everything that a configuration determines before the first step."""

    config: TrainConfig
    data: LabelledData
    rows: NDArray[np.int64]  # Numbers of the training rows.
    validation: NDArray[np.int64]  # Of those that are measured during training, none of the test.
    sampler: Sampler  # Batches of positions among `rows`.
    augmenter: Augmenter
    model: Encoder  # With its initial weights.
    base: Path  # Folder that relative paths in the configuration refer to.

    def setting(self) -> Setting:
        """What theory is asked for this run; refused where it has no answer to data and batches.

        Unlabelled rows have no class, so theory does not know them.
        """
        labels = self.data.labels[self.rows]
        return Setting(
            class_counts=np.bincount(labels[labels >= 0]).tolist(),
            views=self.config.views.count,
            dimension=self._embedding_dimension(),
            batch=self.sampler.batch(),
            **self.config.loss.supcl(),
        )

    def _embedding_dimension(self) -> int:
        """d of the projector."""
        head = self.config.head
        if head.layers:
            return head.dimension
        with evaluation_mode(self.model):
            return int(self.model(torch.zeros(1, *_input_shape(self.data))).shape[1])


def _input_shape(data: LabelledData) -> tuple[int, ...]:
    """Shape of what the encoder sees: of one stored view, where views are stored."""
    return data.inputs.shape[1:] if data.inputs.kind == "views" else data.inputs.shape


def build_problem(
    config: TrainConfig,
    *,
    base: Path | None = None,
    data: LabelledData | None = None,
    progress: Progress = quiet,
) -> Problem:
    """Load the data and build what trains on them.

    Args:
        config: The configuration.
        base: Folder that relative paths in it refer to; None for the current one.
        data: Data that are loaded already.
        progress: Called with (images decoded, images in all).

    Raises:
        InputError: Anything in the data or the configuration that cannot be used.

    Examples:
        >>> from uncollapse.training import parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> problem = build_problem(parse_config(block))
        >>> len(problem.rows), problem.sampler.steps, problem.setting().alpha
        (1258, 4, 0.2)
    """
    if data is None:
        data = load_data(config.data, base=base, progress=progress)
    rows, validation = data.rows("train"), data.rows("validation")
    if not len(rows):
        raise InputError("training rows", "none", "leave some rows for training in data.split")
    labels = data.labels[rows]
    classes = len(np.unique(labels[labels >= 0]))
    if classes < 2:
        raise InputError(
            "two classes or more among the training rows",
            f"{classes}",
            "choose another label, or a map with more coarse classes",
        )
    sampler = make_sampler(config.batch, labels, seed=config.seed, names=data.label_names)
    if sampler.steps < 1:
        raise InputError(
            "a batch no larger than the training rows",
            f"{sampler.size} in a batch, {len(rows)} rows",
            "lower batch.size",
        )
    scales = training_scales(data.inputs, rows)
    augmenter = Augmenter(config.views, data.inputs.kind, data.inputs.shape, scales)
    shape = _input_shape(data)
    model = build_encoder(config.encoder, config.head, shape, seed=config.seed, base=base)
    most = config.validation.rows
    if len(validation) > most:
        chosen = np.random.default_rng((config.seed, 7)).permutation(len(validation))[:most]
        validation = validation[np.sort(chosen)]
    place = (base or Path()).resolve()
    return Problem(config, data, rows, validation, sampler, augmenter, model, place)
