"""A Lightning callback that measures collapse at the end of every validation."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Callback = object
elif "lightning.pytorch" not in sys.modules and "pytorch_lightning" in sys.modules:
    # The same framework under its older name: whichever the program has begun with.
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError as missing:
        raise ImportError(
            "the callback needs Lightning: pip install 'uncollapse[lightning]'"
        ) from missing

from uncollapse.errors import InputError
from uncollapse.monitor._files import hand_over
from uncollapse.monitor._measure_model import Embed
from uncollapse.monitor._numbers import CollapseWarning
from uncollapse.monitor._probe_set import ProbeSet
from uncollapse.monitor._stuck import Decode
from uncollapse.monitor._watch import Watch
from uncollapse.records import sentence

_OF_THE_START = ("embeddings", "labels", "instances")


def first_and_second(module: Any, batch: Any) -> tuple[Any, Any]:
    """Embeddings of the batch's first part by the module's forward; its second are the labels."""
    return module(batch[0]), batch[1]


class CollapseCallback(Watch, Callback):
    """Measures the module's embeddings of validation data at the end of every validation.

    Logs what `uncollapse.monitor.as_numbers` gives as `collapse/share` and so on, so that a logger
    or a ModelCheckpoint can use it, and warns with `CollapseWarning` when collapse begins. One
    forward pass over the batches each time; mode, buffers and random state are as before.

    Args:
        embed: (module, batch) -> (embeddings, labels) or (embeddings, labels, instances), as in
            `measure_model`. Default: the module's forward of `batch[0]`, and `batch[1]`.
        batches: What to embed. Default: the trainer's only validation loader. With several
            processes each takes its part; of a loader with a DistributedSampler, its share (which
            repeats a few rows where the shares are uneven).
        every: Measure at every `every`-th validation.
        score: Name of a metric of the validation, 0 or above, that `kept_score` takes where the
            structure of the start is kept. Default: 1 - share, what separates the classes.
        lower_is_better: Whether that metric is a loss; it then counts as 1/(1 + loss).
        decode: What the training's loss means, as a function of it: `decode_loss` with batch,
            temperature and convention. A run that stands still at the loss of identical embeddings,
            random ones or collapsed classes is then warned of, once for each (`StuckLoss`).
        records: Where every measurement is kept, a line of JSON each (`read_watched`): a file name
            in the folder of the trainer's first logger, or a path. True: `collapse.jsonl` there,
            nothing without a logger. False: nowhere.
        log_report: Write the report of the first and the last measurement when training ends, to
            `collapse-report.html` in that folder, and give it to MLflow and W&B as an artifact.
        options: `prediction`, `margins`, `confidence`, `layer`, `split` and `dropout` of
            `measure_model`.

    Attributes:
        measurements: (step, record) of every measurement.
        retentions: (step, retention) against the start of training, of every measurement. The
            start is kept for the first 100 rows of every class; a run that goes on from a
            checkpoint takes it from there.

        stuck: (step, state) of every state at whose loss the run stood still.

    Raises:
        InputError: Several validation loaders and no `batches`.
    """

    def __init__(
        self,
        embed: Embed = first_and_second,
        batches: Iterable[Any] | None = None,
        *,
        every: int = 1,
        score: str | None = None,
        lower_is_better: bool = False,
        decode: Decode | None = None,
        records: str | Path | bool = True,
        log_report: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            embed,
            batches,
            score,
            lower_is_better,
            decode=decode,
            records=records,
            log_report=log_report,
            **options,
        )
        if every < 1:
            raise InputError("every >= 1", f"{every}", "1 measures at every validation")
        self.every = every
        self._validations = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Embed the probe set before training, for retention; say if nothing will be measured."""
        if not trainer.enable_validation:
            if trainer.is_global_zero:
                warnings.warn(sentence("watch.no-validation"), CollapseWarning, stacklevel=2)
            return
        if self._start is not None or trainer.global_step:
            return
        batches = self.batches if self.batches is not None else trainer.val_dataloaders
        if batches is None:
            return
        batches = self.batches if self.batches is not None else _only_loader(trainer)
        sharded = self.batches is None and _is_sharded(batches)
        with trainer.precision_plugin.forward_context():
            self._remember_start(pl_module, batches, sharded=sharded)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the training's loss."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            # Lightning divides it by the batches that a step accumulates.
            loss = loss.detach() * trainer.accumulate_grad_batches
            self._saw_loss(loss, trainer.global_step, tell=trainer.is_global_zero)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the report, and give it to the loggers."""
        if not self.log_report:
            return
        folder = _folder(trainer) or Path(trainer.default_root_dir)
        path = self._written_report(folder, trainer.is_global_zero)
        for logger in trainer.loggers if path is not None else ():
            kind, run = type(logger).__name__, logger.experiment
            if kind == "MLFlowLogger":
                hand_over("MLflow", partial(run.log_artifact, logger.run_id, str(path)))
            elif kind == "WandbLogger":
                hand_over("W&B", partial(run.log_artifact, str(path), "collapse-report", "report"))

    def state_dict(self) -> dict[str, Any]:
        """The start of training, so that a resumed run is held against it too."""
        start = self._start
        return {} if start is None else {k: vars(start)[k] for k in _OF_THE_START}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the start of training from a checkpoint."""
        if state_dict:
            self._start = ProbeSet(**state_dict)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure and log."""
        if trainer.sanity_checking:
            return
        self._validations += 1
        if (self._validations - 1) % self.every:
            return
        batches = self.batches if self.batches is not None else _only_loader(trainer)
        with trainer.precision_plugin.forward_context():
            numbers = self._numbers(
                pl_module,
                batches,
                trainer.global_step,
                sharded=self.batches is None and _is_sharded(batches),
                tell=trainer.is_global_zero,
                score=_metric(trainer.callback_metrics, self.score),
            )
        folder = _folder(trainer)  # asked for by every process
        if numbers and trainer.is_global_zero and not trainer.fast_dev_run:
            self._write_record(folder)
        named = {f"collapse/{name}": value for name, value in numbers.items()}
        # All processes have the same numbers; their mean is what Lightning wants to take.
        pl_module.log_dict(named, sync_dist=trainer.world_size > 1)


def _folder(trainer: Any) -> Path | None:
    """Where the first logger writes; the trainer's own folder where that is not on this machine."""
    if not trainer.loggers:
        return None
    place = trainer.log_dir
    away = place is None or "://" in str(place)
    return Path(trainer.default_root_dir if away else place)


def _metric(metrics: Any, name: str | None) -> float | None:
    """A metric by its name; None where none is asked for."""
    if name is None:
        return None
    if name not in metrics:
        found = ", ".join(sorted(map(str, metrics))) or "none"
        raise InputError(f"a validation metric {name!r}", f"{found}", "log it, or leave score out")
    return float(metrics[name])


def _only_loader(trainer: Any) -> Any:
    loaders = trainer.val_dataloaders
    if isinstance(loaders, list | tuple) and len(loaders) == 1:
        loaders = loaders[0]
    if isinstance(loaders, list | tuple | dict):
        raise InputError(
            "one validation loader", f"{len(loaders)}", "give CollapseCallback(batches=...)"
        )
    return loaders


def _is_sharded(loader: Any) -> bool:
    from torch.utils.data import DistributedSampler

    return isinstance(getattr(loader, "sampler", None), DistributedSampler)
