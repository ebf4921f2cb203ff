"""Keep as a change of the loss: its weights, and the reference that a configuration has at hand.

The reference is the one that the loss names, else the stored one (`data.reference`), else what
costs nothing: a frozen backbone's output, the pretrained encoder before this training, or the
inputs. One that a run would have to be trained for first ("self-supervised") is not proposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from math import log2

from uncollapse.errors import InputError
from uncollapse.records import Objective, PilotReason, SettingChange, Trial, changed_config
from uncollapse.training import Problem, TrainConfig, check_reference, parse_config

WEIGHTS = (0.3, 1.0, 3.0)
LEAST_PER_CLASS = 4  # Instances in a batch, of which there is retention.
KEPT = "theory knows the loss without the kept reference: the prediction is that loss's"
# The same thing by its name among the references that a pilot's retention is held against.
_HELD_AGAINST = {"input": "inputs", "base": "pretrained", "backbone": "backbone"}


def reference_at_hand(config: TrainConfig) -> str | None:
    """What `loss.keep` could keep without another training; None where nothing makes sense."""
    loss, encoder = config.loss, config.encoder
    found: str = "input"
    if loss.reference is not None:
        found = loss.reference
    elif config.data.reference is not None:
        found = "stored"
    elif encoder.frozen:
        found = "backbone"
    elif encoder.weights is not None:
        found = "base"
    if found == "self-supervised" and not loss.keep:
        return None
    kept = [SettingChange("loss.keep", after=1.0), SettingChange("loss.reference", after=found)]
    try:
        parse_config(changed_config(config.plain(), kept))
    except InputError:
        return None
    return found


def unfit_reference(problem: Problem) -> PilotReason | None:
    """UC810 where the reference at hand is none for these rows, UC811 where it collapsed itself."""
    check = None
    with suppress(InputError):  # a row without one, which a run that needs it names
        check = check_reference(problem, reference_at_hand(problem.config))
    if check is None:
        return None
    if check.unrelated:
        return PilotReason.from_key(
            "UC810",
            "pilot.unrelated",
            reference=check.reference,
            retention=check.retention,
            shuffled=check.shuffled,
        )
    if check.collapsed:
        return PilotReason.from_key(
            "UC811",
            "pilot.collapsed-reference",
            reference=check.reference,
            share=check.share,
            inputs=check.inputs_share,
        )
    return None


def keep_changes(problem: Problem) -> Iterator[tuple[tuple[SettingChange, ...], float]]:
    """The other weights of keep, and 0, with the reference where none is named; their sizes."""
    loss, reference = problem.config.loss, reference_at_hand(problem.config)
    if reference is None:
        return
    named: tuple[SettingChange, ...] = ()
    if loss.reference is None:
        named = (SettingChange("loss.reference", None, reference),)
    for weight in (0.0, *WEIGHTS):
        if weight != loss.keep:
            change = SettingChange("loss.keep", loss.keep, weight)
            yield (change, *named), abs(log2((1 + weight) / (1 + loss.keep)))


def kept(trial: Trial) -> Trial:
    """A trial whose loss keeps a reference is trained, whatever is predicted without it."""
    return replace(trial, status="waiting", reason=None, note=trial.note or KEPT)


def keeps(config: TrainConfig, change: tuple[SettingChange, ...]) -> bool:
    """Whether the loss keeps a reference after a change."""
    after = {one.key: one.after for one in change}
    return bool(after.get("loss.keep", config.loss.keep))


def fits(config: TrainConfig, change: tuple[SettingChange, ...]) -> bool:
    """Whether batches after a change have enough instances of a class for what is kept."""
    after = {one.key: one.after for one in change}
    per_class = after.get("batch.per_class", config.batch.per_class)
    return per_class is None or per_class >= LEAST_PER_CLASS or not keeps(config, change)


def held_to_itself(config: TrainConfig, trial: Trial, goal: Objective) -> bool:
    """Whether what judges a trial, retention, is what its loss was changed to maximise."""
    after = {one.key: one.after for one in trial.change}
    reference = after.get("loss.reference", config.loss.reference)
    more = after.get("loss.keep", config.loss.keep) > config.loss.keep
    return more and _HELD_AGAINST.get(str(reference)) in goal.columns[:1]
