"""The loop: processes and precision (Lightning Fabric), optimiser and rate, steps and epochs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from uncollapse.data import LoadedBatch, Loader
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss
from uncollapse.progress import OnStep, Step
from uncollapse.records import EpochLine
from uncollapse.training._beside import Beside
from uncollapse.training._checkpoint import BestEpoch, Checkpoint, Means, RunState, write_checkpoint
from uncollapse.training._optimiser import make_optimiser, make_schedule, temperature_of
from uncollapse.training.config import TrainConfig
from uncollapse.training.embedding import embed_rows, joined
from uncollapse.training.problem import Problem

# (layers, labels, finer labels by name) -> named measures, larger is better where one selects.
Scores = Callable[
    [Mapping[str, NDArray[Any]], NDArray[np.int64], Mapping[str, NDArray[Any]]], dict[str, float]
]
# What marks the best epoch unless the configuration names a measure: the first that is there.
SELECTED_BY = ("projector/within_class", "projector/accuracy")


def make_fabric(config: TrainConfig) -> Any:
    """Fabric for this process; under torchrun, one of its processes."""
    from lightning_fabric import Fabric

    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("a CUDA device", "none", "set device: cpu or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    fabric = Fabric(
        accelerator="cpu" if on_cpu else "cuda",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def _set_up(fabric: Any, config: TrainConfig, model: nn.Module, optimiser: Any) -> tuple[Any, Any]:
    """Model and optimiser on the device, with gradients exchanged between processes."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    normed = any(isinstance(module, kinds) and module.training for module in model.modules())
    if fabric.world_size > 1 and normed and config.sync_batch_norm:
        if fabric.device.type == "cpu":
            raise InputError(
                "an encoder without batch norm for several CPU processes",
                "batch norm, which torch can synchronise on GPUs only",
                "set encoder.norm: group and head.norm: none, or sync_batch_norm: false",
            )
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        model = convert(model)
    wrapped: tuple[Any, Any] = fabric.setup(model, optimiser)
    return wrapped


class Loop:
    """A run while it runs; without a folder for its checkpoints in all processes but the first."""

    def __init__(
        self,
        problem: Problem,
        fabric: Any,
        saved: Checkpoint | None,
        checkpoints: Path | None,
        beside: Beside | None = None,
        objective: nn.Module | None = None,
    ) -> None:
        config = problem.config
        self.problem, self.fabric, self.checkpoints = problem, fabric, checkpoints
        self.beside, self.objective = beside, objective
        self.interrupted = False
        self.steps = problem.sampler.steps
        self.state = RunState(epoch=0, offset=0, step=0, means=Means(0, {}), seconds=0.0)
        self.temperature = temperature_of(config.loss)
        self.optimiser = make_optimiser(
            config.optimiser, problem.model, self.temperature, objective
        )
        if saved is not None:
            saved.check_progress(problem)
            self.state = saved.state
            saved.load_model(problem.model)
            saved.load_optimiser(self.optimiser)
            if self.temperature is not None:
                assert self.state.log_inverse_temperature is not None  # it has been checked
                with torch.no_grad():
                    self.temperature.log_inverse.fill_(self.state.log_inverse_temperature)
        self.trained, self.stepped = _set_up(fabric, config, problem.model, self.optimiser)
        inner = self.trained.module
        self.model = inner.module if hasattr(inner, "module") else inner
        self.schedule = make_schedule(config.optimiser, self.optimiser, self.steps, config.epochs)
        if beside is not None:
            beside.watch(self.model)
        arguments = config.loss.supcl()
        if self.temperature is not None:
            arguments["temperature"] = self.temperature
        if config.loss.alpha_schedule is not None:
            arguments["alpha"] = self._alpha
        self.loss = SupCLLoss(**arguments, keep=config.loss.keep, gather=fabric.world_size > 1)
        self.loader = Loader(
            problem.data,
            problem.rows,
            problem.sampler,
            problem.augmenter,
            seed=config.seed,
            rank=fabric.global_rank,
            world=fabric.world_size,
            workers=config.workers,
        )

    def _alpha(self, step: int) -> float:
        """Alpha of a step, where it follows a schedule."""
        loss = self.problem.config.loss
        assert loss.alpha_schedule is not None
        return loss.alpha_schedule.at(step / self.steps, loss.alpha)

    def run(
        self, until: int, requested: Callable[[], bool], scores: Scores | None, progress: OnStep
    ) -> Iterator[EpochLine]:
        """Train up to an epoch, or until it is asked to stop; a line for each complete epoch."""
        self.trained.train()
        while self.state.epoch < until and not self.interrupted:
            self.interrupted = self._epoch(requested, progress)
            if self.state.offset == self.steps:
                former = self.state.best
                yield self._finished(scores)
                self._save(best=former is not self.state.best)
                self.fabric.barrier()
                left = self.state.epoch < self.problem.config.epochs
                self.interrupted = self._anyone(requested()) and left

    def _epoch(self, requested: Callable[[], bool], progress: OnStep) -> bool:
        """The steps that are left of an epoch; True if it was asked to stop."""
        config, began, stop = self.problem.config, time.monotonic(), False
        total, every = self.steps * config.epochs, config.checkpoint.every_steps
        for batch in self.loader.epoch(self.state.epoch, self.state.offset):
            state = self.state
            self.schedule.step_update(state.step)
            rate = {"learning_rate": float(self.optimiser.param_groups[0]["lr"])}
            means = state.means.plus(self._step(batch) | rate)
            now = time.monotonic()
            self.state = replace(
                state,
                step=state.step + 1,
                offset=state.offset + 1,
                means=means,
                seconds=state.seconds + now - began,
            )
            began = now
            if self.checkpoints is not None:
                progress(Step(self.state.step, total, "training", numbers=means.means()))
            stop = self._anyone(requested())
            ends = self.state.offset == self.steps
            if not ends and (stop or (every and self.state.offset % every == 0)):
                self._save()
            if stop:
                break
        return stop

    def _step(self, batch: LoadedBatch) -> dict[str, float]:
        """Take a step on this process's share of a batch; what the loss was made of, in nats.

        The number of the step, from 0, is all beside the seed that dropout depends on.
        """
        config, number, device = self.problem.config, self.state.step, self.fabric.device
        views = batch.views.to(device)
        with torch.random.fork_rng(devices=[]):
            key = np.random.SeedSequence((config.seed, number, self.fabric.global_rank))
            torch.manual_seed(int(key.generate_state(1)[0]))
            embeddings = self.trained(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        self.loss.step = number
        try:
            loss = self._loss(batch, embeddings)
        except InputError as error:
            raise InputError(
                error.expected, f"{error.found} at step {number}", error.remedy
            ) from error
        if not bool(torch.isfinite(loss)):
            raise InputError(
                "a finite loss",
                f"a loss of {float(loss):g} at step {number}",
                "lower optimiser.learning_rate, add warmup_epochs or clip, or train in fp32",
            )
        self.stepped.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if config.optimiser.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.trained.parameters(), config.optimiser.clip)
        self.stepped.step()
        return {"loss": float(loss.detach())} if self.objective is not None else self._terms()

    def _loss(self, batch: LoadedBatch, embeddings: torch.Tensor) -> torch.Tensor:
        """The configured loss of a batch's embeddings (n, p, d), or the objective in its place."""
        device = self.fabric.device
        labels, instances = batch.labels.to(device), batch.instances.to(device)
        if self.objective is not None:
            found: torch.Tensor = self.objective(embeddings, labels, instances)
            return found
        reference = None
        if self.beside is not None:
            reference = self.beside.of(batch.instances, embeddings.shape[1], device)
        loss: torch.Tensor = self.loss(embeddings, labels, instances, reference=reference)
        return loss

    def _terms(self) -> dict[str, float]:
        """What the configured loss was made of at this step, in nats."""
        config, terms = self.problem.config, self.loss.last
        assert terms is not None  # the loss was called a moment ago
        values: dict[str, Any] = {
            "loss": terms.loss,
            "supervised": terms.supervised,
            "self_supervised": terms.self_supervised,
            "anchors_without_positives": terms.supervised_anchors_without_positives,
        }
        if self.temperature is not None:
            values["temperature"] = terms.temperature
        if config.loss.alpha_schedule is not None:
            values["alpha"] = terms.alpha
        numbers = {name: float(value) for name, value in values.items() if value is not None}
        if terms.kept is not None:
            numbers["keep"] = config.loss.keep * float(terms.kept.loss)
            numbers["retention"] = 1 - float(terms.kept.loss)
            numbers["classes_without_retention"] = terms.kept.few + terms.kept.alike
        return numbers

    def _anyone(self, here: bool) -> bool:
        """Whether any process was asked to stop, so that all stop at the same step."""
        if self.fabric.world_size == 1:
            return here
        return bool(self.fabric.all_reduce(torch.tensor(float(here)), reduce_op="sum") > 0)

    def _finished(self, scores: Scores | None) -> EpochLine:
        """The line of the epoch whose steps are done."""
        config, state = self.problem.config, self.state
        epoch, numbers = state.epoch + 1, state.means.means()
        due = epoch == config.epochs or epoch % config.validation.every == 0
        if scores is not None and due:
            numbers |= self.measured(scores)
        line = EpochLine(
            step=state.step, epoch=epoch, seconds=round(state.seconds, 3), numbers=numbers
        )
        best = _best(state.best, line, config.validation.best)
        self.state = replace(state, epoch=epoch, offset=0, means=Means(0, {}), best=best)
        return line

    def measured(self, scores: Scores) -> dict[str, float]:
        """Validation measures, of the model as it is at this step; none without such rows."""
        rows, data = self.problem.validation, self.problem.data
        if not len(rows):
            return {}
        batches = embed_rows(self.model, data, rows, self.problem.augmenter)
        layers = {name: values[:, 0] for name, values in joined(batches).items()}
        bad = [name for name, values in layers.items() if not np.isfinite(values).all()]
        if bad:
            raise InputError(
                "finite embeddings of the validation rows",
                f"NaN or infinity in the {bad[0]} at step {self.state.step}",
                "lower optimiser.learning_rate; the last good checkpoint is kept",
            )
        fine = {name: data.columns[name][rows] for name in data.fine}
        found = scores(layers, data.labels[rows], fine)
        return found if self.beside is None else found | self.beside.measured(layers)

    def _save(self, *, best: bool = False) -> None:
        if self.checkpoints is None:
            return
        state = self.state
        if self.temperature is not None:
            value = float(self.temperature.log_inverse.detach())
            state = replace(state, log_inverse_temperature=value)
        write_checkpoint(self.checkpoints, self.model, self.optimiser, state, best=best)


def _best(former: BestEpoch | None, line: EpochLine, wanted: str | None) -> BestEpoch | None:
    """This epoch where its value of the named measure is the largest so far, else the former."""
    by = next((name for name in (wanted, *SELECTED_BY) if name in line.numbers), None)
    if wanted is not None and line.measures and by != wanted:
        raise InputError(
            "validation.best as one of the measures",
            wanted,
            f"take one of {', '.join(line.measures)}",
        )
    if by is None or (former is not None and line.numbers[by] <= former.value):
        return former
    return BestEpoch(by, line.numbers[by], line.step, line.epoch)
