"""`uncollapse decode-loss`: what a loss that stands still means."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import Annotated

import typer

from uncollapse.cli._console import print_record
from uncollapse.cli._setting import Json
from uncollapse.errors import InputError
from uncollapse.records import DecodedLoss, LossName, LossState, group_of
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
        *fill(f"{text}: {_headline(found, matching)}", 80).splitlines(),
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
        return " or ".join(MEANING[name] for name in matching)
    if not found.others:
        return "none of the states below"
    other = found.others[0]
    return (
        f"{MEANING['identical']}, if the loss is {other.convention} times {other.factor_is} "
        f"({other.loss:.4g})"
    )
