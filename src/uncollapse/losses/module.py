"""The SupCL loss as a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from math import inf

import torch
import torch.distributed as dist
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import (
    Backend,
    Checks,
    Degenerate,
    Ids,
    Options,
    Precision,
    check_number,
)
from uncollapse.losses._engine.prepared import PreparedReference
from uncollapse.losses.compiled import Prepared, Settings, in_a_graph
from uncollapse.losses.degenerate import warn_of
from uncollapse.losses.retention import retention_terms
from uncollapse.losses.temperature import LearnableTemperature, checked_bounds
from uncollapse.losses.terms import SupCLTerms, supcl_terms
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs

# Those after the batch; the last five say how the loss is computed, not which it is.
_ARGUMENTS = tuple(signature(supcl_terms).parameters)[3:]


class SupCLLoss(nn.Module):
    """`supcl_loss` as a module with the same arguments, and a term that keeps a reference.

        loss = supcl_loss + keep * retention_loss

    With keep > 0 every call takes `reference=`, another embedding of the batch's samples (see
    `retention_loss`): frozen features, raw inputs, the base encoder. Classes weigh in it as
    `reduction` says, by their samples ("anchors") or pairs ("pairs"), and it is made of cosines
    whatever `normalize` says. With keep = 0 the loss is `supcl_loss` to the bit.

    With degenerate="zero" a batch that lacks the loss's pairs counts as 0, and so does the term
    that keeps where no class has four instances; the first of each kind gives a
    `DegenerateBatchWarning`, all are counted.

    Alpha may follow a schedule, a function of the step, which counts the calls in training mode
    whose embeddings take a gradient. The temperature may be learned: a `LearnableTemperature`, or a
    Parameter that holds tau itself and is put back within `temperature_bounds` before every use.

    torch.compile takes it whole (fullgraph=True), unless it gathers from several processes,
    tracks or learns its temperature.

    Args:
        alpha: In [0, 1], or a function from the step, 0 at first, to it.
        temperature: tau, a Parameter that holds it, or a `LearnableTemperature`.
        track: Whether `last.spread` has the variance inside each class of the latest batch, after
            views are joined: a live gauge of collapse, at next to no cost.
        temperature_bounds: Of a Parameter: the least and the largest tau.
        keep: Weight of `retention_loss`, from 0 to 1e6; every batch must then have a class of four
            instances, unless degenerate="zero". The other arguments are those of `supcl_loss`.

    Attributes:
        last: The terms of the latest call, without the graph; None before the first, and not
            changed by compiled calls.
        degenerate_batches: Batches that counted as 0, as a whole or in the term that keeps; those
            of compiled calls not among them.
        step: Of a schedule of alpha, to be set for a run that goes on.

    Examples:
        >>> import torch
        >>> criterion = SupCLLoss(alpha=0.5, temperature=0.1)
        >>> views = torch.eye(4).reshape(2, 2, 4).repeat(2, 1, 1)
        >>> loss = criterion(views, torch.tensor([0, 1, 0, 1]))
        >>> criterion.last.supervised_anchors_without_positives
        0
        >>> criterion, base = SupCLLoss(alpha=0, temperature=0.1, keep=1), torch.randn(8, 32)
        >>> loss = criterion(base[:, :16], torch.arange(8) % 2, reference=base)
        >>> criterion.last.kept.classes
        2
    """

    last: SupCLTerms | None
    degenerate_batches: int
    step: int

    def __init__(
        self,
        *,
        alpha: float | Callable[[int], float],
        temperature: float | nn.Parameter | LearnableTemperature,
        self_pairs: SelfPairs = "exclude",
        reduction: Reduction = "anchors",
        anchors_without_positives: AnchorsWithoutPositives = "drop",
        one_class: OneClass = "error",
        degenerate: Degenerate = "error",
        normalize: bool = True,
        gather: bool = False,
        process_group: dist.ProcessGroup | None = None,
        tile_size: int | None = None,
        track: bool = False,
        keep: float = 0.0,
        temperature_bounds: tuple[float, float] = (0.01, 1.0),
        backend: Backend = "auto",
        checks: Checks | None = None,
        precision: Precision = "exact",
    ) -> None:
        super().__init__()
        Conventions(self_pairs, reduction, anchors_without_positives, one_class)
        self.alpha = alpha if callable(alpha) else check_number("alpha", alpha, 0.0, 1.0)
        self.step = 0
        self.temperature_bounds = temperature_bounds
        value = _value(temperature)
        Options(
            value,
            normalize,
            gather,
            process_group,
            tile_size,
            degenerate,
            track=track,
            backend=backend,
            checks=checks,
            precision=precision,
        )
        if isinstance(temperature, nn.Parameter):
            self.temperature_bounds = checked_bounds(value, temperature_bounds)
        is_learned = isinstance(temperature, nn.Parameter | LearnableTemperature)
        self.temperature = temperature if is_learned else value
        self.self_pairs = self_pairs
        self.reduction = reduction
        self.anchors_without_positives = anchors_without_positives
        self.one_class = one_class
        self.degenerate = degenerate
        self.normalize = normalize
        self.gather = gather
        self.process_group = process_group
        self.tile_size = tile_size
        self.track = track
        self.backend = backend
        self.checks = checks
        self.precision = precision
        self.keep = check_number("keep", keep, 0.0, 1e6)
        self.last = None
        self.degenerate_batches = 0
        self._warned: set[str] = set()
        self._prepared = Prepared.of(self._settings())

    def forward(
        self,
        embeddings: Tensor,
        labels: Ids | None,
        instances: Ids | None = None,
        *,
        reference: Tensor | PreparedReference | None = None,
    ) -> Tensor:
        """The loss of a batch; the reference counts with keep > 0 only."""
        if self.keep and (reference is None or labels is None):
            raise InputError(
                "a reference and labels in every call, because keep > 0",
                "no reference" if reference is None else "no labels",
                "call with reference=, another embedding of the same samples, or set keep=0",
            )
        fixed = isinstance(self.temperature, float) and not callable(self.alpha)
        if torch.compiler.is_compiling() and fixed and not (self.gather or self.track):
            batch = (embeddings, labels, instances)
            return in_a_graph(*batch, reference, self._settings(), self.keep, self._prepared)
        arguments = self._settings()
        arguments |= {"alpha": self.alpha_now, "temperature": self.temperature_now()}
        if self.training and torch.is_grad_enabled() and embeddings.requires_grad:
            self.step += 1
        terms = supcl_terms(embeddings, labels, instances, **arguments)
        if terms.degenerate is not None:
            self.count_degenerate("the batch", terms.degenerate)
        elif self.keep and reference is not None and labels is not None:
            terms = self._keeping(terms, embeddings, reference, labels, instances)
        self.last = replace(terms, loss=terms.loss.detach())
        return terms.loss

    @property
    def alpha_now(self) -> float:
        """Alpha of the present step."""
        if not callable(self.alpha):
            return self.alpha
        return check_number(f"alpha of step {self.step}", self.alpha(self.step), 0.0, 1.0)

    @property
    def temperature_value(self) -> float:
        """Tau as a number, as the next batch has it: within its bounds."""
        return _value(self.temperature, self.temperature_bounds)

    def temperature_now(self) -> float | Tensor:
        """Tau, within its bounds; where it is learned a tensor with a graph."""
        if isinstance(self.temperature, nn.Parameter):
            with torch.no_grad():
                self.temperature.clamp_(*self.temperature_bounds)
        elif isinstance(self.temperature, LearnableTemperature):
            learned: Tensor = self.temperature()
            return learned
        return self.temperature

    def _keeping(
        self,
        terms: SupCLTerms,
        embeddings: Tensor,
        reference: Tensor | PreparedReference,
        labels: Ids,
        instances: Ids | None,
    ) -> SupCLTerms:
        kept = retention_terms(
            embeddings,
            reference,
            labels,
            instances,
            reduction=self.reduction,
            gather=self.gather,
            process_group=self.process_group,
            degenerate=self.degenerate,
        )
        if kept.classes + kept.alike == 0:
            self.count_degenerate(
                "the term that keeps", f"{kept.few} classes of fewer than four instances"
            )
        loss = terms.loss + self.keep * kept.loss
        return replace(terms, loss=loss, kept=replace(kept, loss=kept.loss.detach()))

    def count_degenerate(self, part: str, lacks: str) -> None:
        """Count a batch that lacks something, and say so the first time; refuse it by "error".

        Args:
            part: What counts as nothing, "the batch" or a part of the loss.
            lacks: What the batch lacks.
        """
        if self.degenerate == "error":
            raise InputError(
                "a batch with pairs",
                lacks,
                "draw class-balanced batches, or give degenerate='zero'",
            )
        self.degenerate_batches += 1
        if part not in self._warned:
            self._warned.add(part)
            warn_of(lacks, part=part, stacklevel=4)

    def _settings(self) -> Settings:
        """What the loss is defined by, as it is now."""
        return {name: getattr(self, name) for name in _ARGUMENTS}

    def extra_repr(self) -> str:
        """The arguments that define the loss."""
        names = (*_ARGUMENTS[:-5], "keep") if self.keep else _ARGUMENTS[:-5]
        values = {name: getattr(self, name) for name in names}
        values["temperature"] = self.temperature_value
        return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _value(temperature: object, bounds: tuple[float, float] = (-inf, inf)) -> float:
    """Tau as a number, in range; one that is learned within its bounds, whatever a step did."""
    if isinstance(temperature, LearnableTemperature):
        temperature = temperature.log_inverse.detach().neg().exp().clamp(*temperature.bounds)
    elif isinstance(temperature, nn.Parameter):
        temperature = temperature.detach().clamp(*bounds)
    return check_number("temperature", temperature, 1e-6, 1e6)
