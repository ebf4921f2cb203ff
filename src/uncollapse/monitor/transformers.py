"""A Hugging Face Trainer callback that measures collapse at every evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from uncollapse.errors import InputError
from uncollapse.monitor._measure_model import Embed
from uncollapse.monitor._watch import Watch

if TYPE_CHECKING:
    TrainerCallback = object
else:
    try:
        from transformers import TrainerCallback
    except ImportError as missing:
        raise ImportError("the callback needs it: pip install transformers") from missing


class CollapseCallback(Watch, TrainerCallback):
    """Measures the model's embeddings of evaluation data at every evaluation of a Trainer.

    Logs what `uncollapse.monitor.as_numbers` gives as `eval_collapse_share` and so on by
    `trainer.log`, adds it to the evaluation's metrics, so that `metric_for_best_model` may name one
    of them, and warns with `CollapseWarning` when collapse begins. One forward pass over the
    batches each time; mode, buffers and random state are as before.

    Args:
        trainer: The Trainer, which then gets the callback by `trainer.add_callback`.
        embed: (model, batch) -> (embeddings, labels) or (embeddings, labels, instances), as in
            `measure_model`.
        batches: What to embed. Default: the loader of the evaluation itself. With several
            processes each takes its part; of that loader its share, which repeats a few rows where
            the shares are uneven.
        score: Name of a metric of the evaluation (as `eval_accuracy`), 0 or above, that
            `kept_score` takes where the structure of the start is kept. Default: 1 - share.
        lower_is_better: Whether that metric is a loss; it then counts as 1/(1 + loss).
        options: `prediction`, `margins`, `confidence`, `layer`, `split` and `dropout` of
            `measure_model`.

    Attributes:
        measurements: (step, record) of every measurement.
        retentions: (step, retention) against the start of training, of every measurement of the
            Trainer's only evaluation set. The start is that of this run, resumed or not.
    """

    def __init__(
        self,
        trainer: Any,
        embed: Embed,
        batches: Iterable[Any] | None = None,
        *,
        score: str | None = None,
        lower_is_better: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(embed, batches, score, lower_is_better, **options)
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Embed the probe set before training, for retention."""
        data = self.trainer.eval_dataset
        if self.batches is None and (data is None or isinstance(data, dict)):
            return
        batches = self.trainer.get_eval_dataloader() if self.batches is None else self.batches
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with self.trainer.compute_loss_context_manager():
            self._remember_start(model, batches, sharded=self.batches is None)

    def on_evaluate(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Measure and log."""
        batches = event["eval_dataloader"] if self.batches is None else self.batches
        metrics = event.get("metrics") or {}
        # Several evaluation sets are told apart by a prefix, which every evaluation's time has.
        prefix = next((k.removesuffix("_runtime") for k in metrics if "_runtime" in k), "eval")
        with self.trainer.compute_loss_context_manager():
            numbers = self._numbers(
                self.trainer.accelerator.unwrap_model(self.trainer.model),
                batches,
                state.global_step,
                sharded=self.batches is None,
                tell=state.is_world_process_zero,
                score=_metric(metrics, self.score),
            )
        named = {f"{prefix}_collapse_{name}": value for name, value in numbers.items()}
        if named:
            self.trainer.log(named)
        metrics.update(named)


def _metric(metrics: Any, name: str | None) -> float | None:
    """A metric by its name; None where none is asked for."""
    if name is None:
        return None
    if name not in metrics:
        found = ", ".join(sorted(metrics)) or "none"
        raise InputError(f"an evaluation metric {name!r}", f"{found}", "name one of these")
    return float(metrics[name])
