"""A Hugging Face Trainer callback that measures collapse at every evaluation."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    TrainerCallback = object
else:
    try:
        import torch  # noqa: F401 # which transformers can be without
        from transformers import TrainerCallback
    except ImportError as missing:
        raise ImportError(
            "the callback needs transformers: pip install 'uncollapse[transformers]'"
        ) from missing

from uncollapse.errors import InputError
from uncollapse.monitor._files import hand_over
from uncollapse.monitor._measure_model import Embed
from uncollapse.monitor._stuck import Decode
from uncollapse.monitor._watch import Watch


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
        decode: What the training's loss means, as a function of it: `decode_loss` with batch,
            temperature and convention. A run that stands still at the loss of identical embeddings,
            random ones or collapsed classes is then warned of, once for each (`StuckLoss`); seen
            are the values that the Trainer logs.
        records: Where every measurement is kept, a line of JSON each (`read_watched`): a file name
            in the Trainer's output folder, or a path. True: `collapse.jsonl`. False: nowhere.
        log_report: Write the report of the first and the last measurement when training ends, to
            `collapse-report.html` in the output folder, and give it as an artifact to those of
            MLflow, W&B and trackio that the Trainer reports to.
        options: `prediction`, `margins`, `confidence`, `layer`, `split` and `dropout` of
            `measure_model`.

    Attributes:
        measurements: (step, record) of every measurement.
        retentions: (step, retention) against the start of training, of every measurement of the
            Trainer's only evaluation set. The start is that of this run, resumed or not.
        stuck: (step, state) of every state at whose loss the run stood still.
    """

    def __init__(
        self,
        trainer: Any,
        embed: Embed,
        batches: Iterable[Any] | None = None,
        *,
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
        self.trainer = trainer
        self._last_loss = 0  # step of it
        self._mlflow_run: str | None = None
        self._in_training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Embed the probe set before training, for retention."""
        self._last_loss, self._in_training = state.global_step, True
        self._mlflow_run = _mlflow_run(args)
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
            if state.is_world_process_zero:
                several = isinstance(self.trainer.eval_dataset, dict)
                self._write_record(Path(args.output_dir), prefix if several else "")
            self.trainer.log(named)
        metrics.update(named)
        # Before the end of training, when the loggers close their runs.
        if self._in_training and (
            state.global_step >= state.max_steps or control.should_training_stop
        ):
            self._hand_report(args, state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **event: Any) -> None:
        """Look at the training's loss."""
        if logs and "loss" in logs and state.global_step > self._last_loss:
            covers, self._last_loss = state.global_step - self._last_loss, state.global_step
            tell = state.is_world_process_zero
            self._saw_loss(logs["loss"], state.global_step, covers=covers, tell=tell)

    def on_train_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Write the report and hand it over, if that was not done."""
        self._hand_report(args, state)
        self._in_training = False

    def _hand_report(self, args: Any, state: Any) -> None:
        path = self._written_report(Path(args.output_dir), state.is_world_process_zero)
        if path is None:
            return
        if self._mlflow_run is not None:
            log = sys.modules["mlflow"].log_artifact
            hand_over("MLflow", partial(log, str(path), run_id=self._mlflow_run))
        for name in ("wandb", "trackio"):
            service: Any = sys.modules.get(name)
            if name in args.report_to and service is not None:
                taker = getattr(service, "run", None) if name == "wandb" else service
                if taker is not None:
                    log = partial(taker.log_artifact, str(path), "collapse-report", "report")
                    hand_over(name, log)


def _mlflow_run(args: Any) -> str | None:
    """The run that the Trainer reports to, whose end comes before this callback's."""
    mlflow: Any = sys.modules.get("mlflow")
    run = mlflow.active_run() if mlflow is not None and "mlflow" in args.report_to else None
    return None if run is None else str(run.info.run_id)


def _metric(metrics: Any, name: str | None) -> float | None:
    """A metric by its name; None where none is asked for."""
    if name is None:
        return None
    if name not in metrics:
        found = ", ".join(sorted(metrics)) or "none"
        raise InputError(f"an evaluation metric {name!r}", f"{found}", "name one of these")
    return float(metrics[name])
