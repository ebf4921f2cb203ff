"""Measure a model while it trains, and leave it as it was found."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Margins
from uncollapse.monitor._probe_set import ProbeSet, kept_score
from uncollapse.records import Measurement, Prediction, Retention

Embed = Callable[[Any, Any], tuple[Any, ...]]
# What torch's cross-entropy (`ignore_index`) and Hugging Face mark a row without a label by.
_IGNORED = -100

# Up to this dimension intervals are exact: (d + 6)^2 numbers a class; above it, from 16 blocks.
_EXACT_DIMENSION = 256

_VERDICT_NUMBERS = {
    "collapsed": 0.0,
    "at-risk": 1.0,
    "not-collapsed": 2.0,
    "healthy": 3.0,
    "cannot-tell": -1.0,
}
_LOGGED = (
    "instance_variance",
    "view_variance",
    "within_class_variance",
    "between_class_variance",
    "share",
)


class CollapseWarning(UserWarning):
    """The model under training is collapsed, or could not be measured.

    Examples:
        >>> import warnings
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", CollapseWarning)  # what warns now stops the training
        ...     warn_of(measure(np.eye(3, 16)[labels], labels), "step 100")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        uncollapse.monitor._measure_model.CollapseWarning: step 100: class collapse ...
    """


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; after it the model is as before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, tensor, None if tensor is None else tensor.detach().clone())
        for module in model.modules()
        for name, tensor in module._buffers.items()
    ]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (kept, never drawn from)
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch's has no types
    devices = list(range(torch.cuda.device_count())) if in_use else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  (put back as it was)
        with torch.no_grad():
            for module, name, tensor, values in buffers:
                module._buffers[name] = tensor
                if tensor is not None and values is not None:
                    tensor.copy_(values)
        for module, mode in modes:
            module.training = mode


def measure_model(
    model: nn.Module,
    batches: Iterable[Any],
    embed: Embed,
    *,
    prediction: Prediction | Mapping[str, Any] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    sharded: bool = False,
) -> Measurement:
    """Embed batches in evaluation mode and measure them; the model is left as it was found.

    Args:
        model: The model. Restored are every module's mode, every buffer (its tensor and its values)
            and the random state of Python, NumPy and torch (the CPU's, and that of CUDA devices in
            use). Batches are moved to its device; the model is not moved.
        batches: What `embed` takes: a DataLoader, or any iterable that ends.
        embed: (model, batch) -> (embeddings, labels) or (embeddings, labels, instances), shaped as
            in `measure`: (N, d), or (N, p, d) for p views of each of N instances. Of labels in a
            tensor, -100, which cross-entropy ignores, is read as -1, unlabelled.
        prediction: What theory predicts for the run's setting.
        margins: Where collapse begins, and what counts as kept.
        confidence: Of every interval.
        layer: Name of the layer, for the record.
        split: Name of the data split, for the record.
        sharded: With several processes (`torch.distributed`): whether each has its own share of the
            batches, as with a DistributedSampler. Otherwise all are given the same batches in the
            same order, and each embeds its part. Every process must call, and gets the whole.

    Returns:
        The record. Intervals are exact up to dimension 256, above it from blocks. Rows that are not
        finite and classes of one instance are left out and counted (`conditions["dropped"]`).

    Raises:
        InputError: Fewer than two classes of two instances; an `embed` that returns other things.

    Examples:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout())
        >>> batch = torch.eye(4).repeat(10, 1), torch.arange(40) % 2
        >>> record = measure_model(model, [batch], lambda model, batch: (model(batch[0]), batch[1]))
        >>> record.conditions.samples, model.training
        (40, True)
    """
    whole = _gathered(model, batches, _unlabelled_where_ignored(embed), sharded)
    return whole.measurement(
        prediction=prediction, margins=margins, confidence=confidence, layer=layer, split=split
    )


def _unlabelled_where_ignored(embed: Embed) -> Embed:
    """The same function, with -1 for labels of -100, which `measure` would refuse."""

    def embed_and_mark(model: Any, batch: Any) -> Any:
        columns = embed(model, batch)
        if not isinstance(columns, tuple) or len(columns) < 2:
            return columns
        labels = columns[1]
        if isinstance(labels, torch.Tensor) and not labels.is_complex():
            labels = labels.masked_fill(labels == _IGNORED, -1) if labels.is_signed() else labels
        return columns[0], labels, *columns[2:]

    return embed_and_mark


def _gathered(model: nn.Module, batches: Iterable[Any], embed: Embed, sharded: bool) -> Accumulator:
    """What all processes have accumulated, in each of them."""
    processes, part = _processes(), _own_part(sharded)
    mine: Accumulator | InputError
    try:
        mine = _accumulated(model, batches, part, embed)
    except InputError as error:
        # Not raised before the others know: they would wait for this process for ever.
        mine = error
    gathered: list[Any] = [mine] * processes
    if processes > 1:
        torch.distributed.all_gather_object(gathered, mine)
    for state in gathered:
        if isinstance(state, InputError):
            raise state
    whole: Accumulator = gathered[0]
    for state in gathered[1:]:
        whole.merge(state)
    return whole


def _processes() -> int:
    """How many processes there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def _own_part(sharded: bool) -> tuple[int, int]:
    """This process's first batch, and how many there are to its next."""
    processes = _processes()
    if sharded or processes == 1:
        return 0, 1
    return torch.distributed.get_rank(), processes


def _accumulated(
    model: nn.Module, batches: Iterable[Any], part: tuple[int, int], embed: Embed
) -> Accumulator:
    """Every n-th of the batches of n processes, from this process's first on."""
    state: Accumulator | None = None
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with _undisturbed(model):
        # Only here, because a loader draws a random number when it is iterated over.
        for batch in islice(batches, part[0], None, part[1]):
            columns = embed(model, _on_device(batch, device))
            if not isinstance(columns, tuple) or not 2 <= len(columns) <= 3:
                raise InputError(
                    "embed to return (embeddings, labels) or (embeddings, labels, instances)",
                    f"{type(columns).__name__}",
                    "return a tuple",
                )
            if state is None:
                exact = columns[0].shape[-1] <= _EXACT_DIMENSION
                state = Accumulator("exact" if exact else "blocks", drop_invalid=True)
            state.update(*columns)
    return state or Accumulator(drop_invalid=True)


def _on_device(batch: Any, device: torch.device) -> Any:
    """The same batch with its tensors on a device; other things stay as they are."""
    if callable(getattr(batch, "to", None)):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _on_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_on_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_on_device(value, device) for value in batch)
    return batch


def as_numbers(measurement: Measurement, prefix: str = "") -> dict[str, float]:
    """What a logger takes: the variances and the share that exist, and the verdict as a number.

    Args:
        measurement: It.
        prefix: Put before every name.

    Returns:
        `instance_variance` and `view_variance` (where there are views), `within_class_variance`,
        `between_class_variance`, `share`; `verdict` is 0 for collapsed, 1 at-risk,
        2 not-collapsed, 3 healthy, -1 cannot-tell.
    """
    numbers = {
        prefix + name: value
        for name in _LOGGED
        if (value := measurement[name].estimate) is not None
    }
    return numbers | {prefix + "verdict": _VERDICT_NUMBERS[measurement.verdict]}


def warn_of(measurement: Measurement, when: str, stacklevel: int = 2) -> None:
    """Warn with the deciding reason if the model is collapsed.

    Args:
        measurement: It.
        when: Of the training, such as "step 100".
        stacklevel: Of the warning.
    """
    if measurement.verdict != "collapsed":
        return
    reason = measurement.reasons[0]
    warnings.warn(
        f"{when}: class collapse ({reason.code}): {reason.text}. {reason.advice}",
        CollapseWarning,
        stacklevel=stacklevel + 1,
    )


class Watch:
    """What the callbacks share: measure a model, remember it, warn when collapse begins."""

    def __init__(
        self,
        embed: Embed,
        batches: Iterable[Any] | None,
        score: str | None = None,
        lower_is_better: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.score, self.lower_is_better = score, lower_is_better
        self.measurements: list[tuple[int, Measurement]] = []
        self.retentions: list[tuple[int, Retention]] = []
        self._embed, self._options = _unlabelled_where_ignored(embed), options
        self._start: ProbeSet | None = None

    def _remember_start(self, model: nn.Module, batches: Iterable[Any], *, sharded: bool) -> None:
        """Embed the first rows of every class before training changes anything."""
        start = ProbeSet()
        # What cannot be measured is warned of when it is measured.
        with suppress(InputError):
            _accumulated(model, batches, _own_part(sharded), start.recorded(self._embed))
        start = start.of_all_processes()
        self._start = start if start.labels else None

    def _numbers(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        step: int,
        *,
        sharded: bool,
        tell: bool,
        score: float | None = None,
    ) -> dict[str, float]:
        """Measure, remember, and warn (where this process is to `tell`) if collapse begins.

        What cannot be measured (one class only, say) is warned of and does not stop the training;
        returned are the numbers to log, none where it could not be measured.
        """
        before = self.measurements[-1][1].verdict if self.measurements else None
        now = ProbeSet()
        embed = self._embed if self._start is None else now.recorded(self._embed)
        try:
            record = measure_model(model, batches, embed, sharded=sharded, **self._options)
        except InputError as error:
            if tell:
                warnings.warn(
                    f"step {step}: collapse not measured: {error}", CollapseWarning, stacklevel=3
                )
            return {}
        self.measurements.append((step, record))
        if tell and before != "collapsed":
            warn_of(record, f"step {step}", stacklevel=3)
        return as_numbers(record) | self._against_start(now, record, step, tell, score)

    def _against_start(
        self, now: ProbeSet, record: Measurement, step: int, tell: bool, score: float | None
    ) -> dict[str, float]:
        """Retention against the start of training, and the number that chooses a checkpoint."""
        if self._start is None:
            return {}
        found = now.of_all_processes().kept_from(self._start, record.conditions.confidence)
        if found is None or found.estimate is None:
            if tell:
                warnings.warn(
                    f"step {step}: no retention against the start of training: the batches hold"
                    " other rows, or come in another order; give `batches` that do not change",
                    CollapseWarning,
                    stacklevel=4,
                )
            return {}
        self.retentions.append((step, found))
        if score is not None and self.lower_is_better:
            score = 1 / (1 + max(score, 0.0))
        margins = record.conditions.margins or Margins()
        return {
            "retention": found.estimate,
            "kept_score": kept_score(record, found, margins, score),
        }
