"""`uncollapse decode-loss`: what a loss that stands still means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose, isfinite
from textwrap import fill
from typing import Annotated

import typer

from uncollapse.cli._console import print_record
from uncollapse.cli._setting import Json
from uncollapse.errors import InputError
from uncollapse.records import DecodedLoss, LossName, LossState, OtherReading, group_of
from uncollapse.theory import decode_loss

MEANING, WHAT_TO_DO = group_of("loss-state"), group_of("loss-advice")


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """The batch, the loss and the answer.

    Attributes:
        batch: Instances in a batch, not multiplied by the views.
        temperature: Temperature tau, 0.001 to 1000.
        convention: Whose loss it is: supcl, supcon, supcontrast, nt-xent, sincere, l-spread,
            ssem-cifar or ssem-imagenet (docs/conventions.md).
        views: Augmented views of an instance.
        classes: Classes in a batch, from 2; without them nothing is said of collapse.
        alpha: Weight of the self-supervised term, between 0 and 1.
            [default: 0; of l-spread 0.5]
        dim: Dimension of the embeddings.
        factor: What the code multiplies the loss by, above 0. [default: temperature / 0.07 for
            supcontrast, else 1]
    """

    batch: Annotated[int, typer.Option(min=2)]
    temperature: float
    convention: Annotated[LossName, typer.Option(metavar="<name>")] = "supcl"
    views: Annotated[int, typer.Option(min=1)] = 2
    classes: int | None = None
    alpha: float | None = None
    dim: Annotated[int, typer.Option(min=2)] = 128
    factor: float | None = None
    as_json: Json = False


def decode_loss_command(
    value: Annotated[str, typer.Argument(metavar="VALUE"), "The loss, as it was printed."],
    *,
    options: DecodeOptions,
) -> None:
    """Say what a stuck loss means.

    Compares it with the loss of identical embeddings, of random ones, of collapsed classes and of
    the optimum, under the convention and factor of the code that printed it.

    Example: `uncollapse decode-loss 6.920 --batch 64 --temperature 0.1 --convention supcontrast`
    """
    number, tolerance = _read(value)
    found = decode_loss(
        number,
        tolerance=tolerance,
        batch=options.batch,
        temperature=options.temperature,
        convention=options.convention,
        views=options.views,
        classes=options.classes,
        alpha=options.alpha,
        dimension=options.dim,
        factor=options.factor,
    )
    if options.as_json:
        print_record(found.to_json(None))
    else:
        typer.echo("\n".join(_report(value.strip(), found)))


def _read(text: str) -> tuple[float, float]:
    """The number, and half a unit of its last digit as it was written."""
    try:
        number = float(text)
    except ValueError:
        raise InputError("a loss as a number", text, "give it as 6.92") from None
    if not isfinite(number):
        raise InputError("a finite loss", text, "give the value as it was printed")
    plain = text.strip().lower().partition("e")
    shift = int(plain[2] or 0) if plain[1] else 0
    digits = len(plain[0].partition(".")[2]) - shift
    return number, 0.5000001 * 10.0**-digits


def _report(text: str, found: DecodedLoss) -> list[str]:
    matching = [state.state for state in found.states if state.matches]
    factor = f", times {found.factor:.4g}" if found.factor != 1 else ""
    alpha = "" if found.alpha is None else f", alpha {found.alpha:g}"
    classes = "" if found.classes is None else f" in {found.classes} equal classes"
    views = "view" if found.views == 1 else "views"
    lines = [
        *fill(f"{text} is {_headline(found, matching)}", 80).splitlines(),
        "",
        f"loss         {found.convention}{factor}, temperature {found.temperature:g}{alpha}",
        f"batch        {found.batch} instances{classes} x {found.views} {views} = "
        f"{found.embeddings} embeddings",
        "",
    ]
    for state in found.states:
        mark = "  <- this one" if state.matches else ""
        lines.append(f"{state.loss:12.4f}  {state.state:9s}  {MEANING[state.state]}{mark}")
    if found.classes is None:
        lines.append(f"{'':14}(--classes adds collapse and the optimum)")
    advice: list[LossState] = matching[:1] or (["identical"] if found.others else [])
    return [*lines, *(f"\n{fill(WHAT_TO_DO[name], 80)}" for name in advice)]


def _headline(found: DecodedLoss, matching: list[LossState]) -> str:
    if matching:
        states = " or ".join(f"{name} embeddings" for name in matching)
        if matching == ["optimum"]:
            states = "the optimum"
        return f"the loss of {states}: {' or '.join(MEANING[name] for name in matching)}"
    if found.others:
        conditions = " and ".join(_conditions(found, found.others[0]))
        return f"the loss of identical embeddings ({MEANING['identical']}) if {conditions}"
    return f"none of the states below; {_place(found)}"


def _conditions(found: DecodedLoss, other: OtherReading) -> Iterator[str]:
    """What must be other than it was said, and the option that says it."""
    if other.convention not in _alike(found.convention) or not isclose(other.factor, found.factor):
        option = f"--factor {other.factor:.4g}"
        if other.factor_is == "temperature / 0.07" and other.convention == "supcon":
            option = "--convention supcontrast"
        elif other.factor == 1:
            option = f"--convention {other.convention}"
        elif other.convention not in _alike(found.convention):
            option = f"--convention {other.convention} {option}"
        yield f"it is {other.convention}'s times {other.factor_is} ({option})"
    if other.embeddings not in (None, found.embeddings):
        batch, rest = divmod(other.embeddings, found.views)
        option = f"--batch {other.embeddings} --views 1" if rest else f"--batch {batch}"
        yield f"a batch has {other.embeddings} embeddings, not {found.embeddings} ({option})"


def _alike(convention: LossName) -> tuple[LossName, ...]:
    """Losses of which identical embeddings have the same."""
    same: tuple[LossName, ...] = ("supcl", "supcon", "supcontrast", "nt-xent", "ssem-imagenet")
    return same if convention in same else (convention,)


def _place(found: DecodedLoss) -> str:
    """Between which states the value lies."""
    below = [state for state in found.states if state.loss < found.value]
    above = [state for state in found.states if state.loss > found.value]
    if not found.states:
        return "its losses need --classes"
    if not below:
        least = min(above, key=lambda state: state.loss)
        if least.state == "optimum":
            return "no embeddings of equal classes reach it: look at convention, factor and batch"
        return f"lower than that of {least.state} embeddings"
    highest = max(below, key=lambda state: state.loss)
    if not above:
        return f"higher than that of {highest.state} embeddings"
    least = min(above, key=lambda state: state.loss)
    return f"between {highest.state} and {least.state}"
