"""One step of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from uncollapse.data import LoadedBatch
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss


class Stepper:
    """Forward, backward and update, by what Lightning Fabric has set up."""

    def __init__(
        self, fabric: Any, model: nn.Module, optimiser: Any, loss: SupCLLoss, seed: int, clip: Any
    ) -> None:
        self.fabric, self.model, self.optimiser, self.loss = fabric, model, optimiser, loss
        self.seed, self.clip = seed, clip

    def step(self, batch: LoadedBatch, number: int) -> dict[str, float]:
        """Take a step on this process's share of a batch; what the loss was made of, in nats.

        The number of the step, from 0, is all beside the seed that dropout depends on.
        """
        views = batch.views.to(self.fabric.device)
        with torch.random.fork_rng(devices=[]):
            key = np.random.SeedSequence((self.seed, number, self.fabric.global_rank))
            torch.manual_seed(int(key.generate_state(1)[0]))
            embeddings = self.model(views.flatten(0, 1))
        try:
            loss = self.loss(
                embeddings.unflatten(0, views.shape[:2]),
                batch.labels.to(self.fabric.device),
                batch.instances.to(self.fabric.device),
            )
        except InputError as error:
            raise InputError(
                error.expected, f"{error.found} at step {number}", error.remedy
            ) from error
        if not bool(torch.isfinite(loss)):
            raise _diverged(f"a loss of {float(loss):g}", number)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        return self._values()

    def _values(self) -> dict[str, float]:
        terms = self.loss.last
        assert terms is not None  # the loss was called a moment ago
        values = {"loss": float(terms.loss)}
        if terms.supervised is not None:
            values["supervised"] = float(terms.supervised)
        if terms.self_supervised is not None:
            values["self_supervised"] = float(terms.self_supervised)
        lacking = terms.supervised_anchors_without_positives
        return values | {"anchors_without_positives": float(lacking)}


def _diverged(what: str, step: int) -> InputError:
    return InputError(
        "a finite loss",
        f"{what} at step {step}",
        "lower optimiser.learning_rate, add warmup_epochs or clip, or train in fp32",
    )
