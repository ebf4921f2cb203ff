"""Augmentations by name: the operations, the strengths made of them, and kornia's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from uncollapse.data.augmentations import (
    Crop,
    Draws,
    Flip,
    Geometric,
    Mask,
    Noise,
    Operation,
    Rotate,
    Shift,
    warp,
)
from uncollapse.data.colours import Blur, Grey, Jitter
from uncollapse.errors import InputError

__all__ = ["OPERATIONS", "KorniaOperation", "Listed", "Strength", "compiled", "named", "parsed"]

Strength = Literal["none", "weak", "medium", "strong"]
Listed = str | dict[str, dict[str, Any]]

OPERATIONS: dict[str, type[Operation]] = {
    "crop": Crop, "shift": Shift, "flip": Flip, "rotate": Rotate,
    "jitter": Jitter, "grey": Grey, "blur": Blur,
    "mask": Mask, "noise": Noise,
}  # fmt: skip


class Step(Protocol):
    """A change of a batch."""

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed batch."""
        ...


def named(strength: Strength, *, image: bool, flip: bool) -> list[Operation]:
    """The operations of a named strength.

    | strength | images | vectors and stored views |
    |---|---|---|
    | none | unchanged | unchanged |
    | weak | shift by up to 1/8, flip | mask .1, noise .1 |
    | medium | crop of .2 to 1 of the area, flip, jitter .4 .4 .4 .1 (p .8), grey (p .2): SupContrast's and the paper's CIFAR views | mask .2, noise .2 |
    | strong | crop of .08 to 1, flip, jitter .8 .8 .8 .2 (p .8), grey (p .2), blur (p .5): SimCLR's ImageNet views | mask .4, noise .4 |

    Args:
        strength: The name.
        image: Whether it is for images.
        flip: Whether images are mirrored; not for digits, letters and the like.

    Returns:
        The operations, in order.
    """  # noqa: E501
    if strength == "none":
        return []
    if not image:
        amount = {"weak": 0.1, "medium": 0.2, "strong": 0.4}[strength]
        return [Mask(p=amount), Noise(std=amount)]
    mirror: list[Operation] = [Flip()] if flip else []
    if strength == "weak":
        return [Shift(), *mirror]
    if strength == "medium":
        return [Crop(), *mirror, Jitter(), Grey()]
    jitter = Jitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
    return [Crop(scale=(0.08, 1.0)), *mirror, jitter, Grey(), Blur()]


def parsed(listed: Sequence[Listed]) -> list[tuple[str, Operation | dict[str, Any]]]:
    """Names and operations of an explicit list; of kornia's classes, the arguments.

    Raises:
        ValueError: A name or an argument is not known.
    """
    found: list[tuple[str, Operation | dict[str, Any]]] = []
    for item in listed:
        if isinstance(item, str):
            item = {item: {}}
        if len(item) != 1:
            raise ValueError(f"each item of the list is one {{name: {{arguments}}}}, not {item}")
        ((name, arguments),) = item.items()
        if name in OPERATIONS:
            try:
                found.append((name, OPERATIONS[name].model_validate(arguments)))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join([name, *map(str, first["loc"])])
                raise ValueError(f"{where}: {first['msg']}") from None
        elif name[:1].isupper():
            found.append((name, arguments))
        else:
            raise ValueError(
                f"augmentation {name!r} is none of {', '.join(OPERATIONS)}, nor a class of "
                "kornia.augmentation"
            )
    return found


def compiled(
    operations: Sequence[tuple[str, Operation | dict[str, Any]]],
    kind: Literal["image", "vector", "views"],
    shape: tuple[int, ...],
) -> list[Step]:
    """What is applied to a batch, with neighbouring affine operations joined.

    Args:
        operations: As `parsed` gives them.
        kind: What a row is.
        shape: Shape of a row.

    Raises:
        InputError: An operation is not for this kind of row, or kornia refuses it.
    """
    steps: list[Step] = []
    for name, operation in operations:
        fits = (
            "vector" if isinstance(operation, Operation) and operation.kind == "vector" else "image"
        )
        if (fits == "image") != (kind == "image"):
            usable = [n for n, o in OPERATIONS.items() if (o.kind == "image") == (kind == "image")]
            raise InputError(
                f"augmentations for rows of kind {kind} ({', '.join(usable)})", name, "leave it out"
            )
        if isinstance(operation, dict):
            steps.append(KorniaOperation(name, operation, shape))
            continue
        if operation.channels is not None and shape[0] not in operation.channels:
            raise InputError(
                "images of 3 channels for grey", f"{shape[0]} channels", "leave grey out"
            )
        if isinstance(operation, Geometric):
            if steps and isinstance(steps[-1], _Warp):
                steps[-1].operations.append(operation)
            else:
                steps.append(_Warp([operation]))
        else:
            steps.append(operation)
    return steps


class _Warp:
    """Affine operations that follow each other, with one interpolation for all."""

    def __init__(self, operations: list[Geometric]) -> None:
        self.operations = operations

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        return warp(values, self.operations, draws)


class KorniaOperation:
    """A class of kornia.augmentation, drawn for each image apart.

    Kornia draws from torch's global generator, so it is given a seed for the call and put back
    as it was.

    Args:
        name: Name of the class, such as "RandomErasing".
        arguments: Its keyword arguments; same_on_batch is always False.
        shape: (C, H, W), which the operation must keep.

    Raises:
        InputError: No such class, arguments that it does not take, or another shape comes out.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        import kornia.augmentation as kornia

        found = getattr(kornia, name, None)
        if not (isinstance(found, type) and issubclass(found, kornia.AugmentationBase2D)):
            raise InputError("a class of kornia.augmentation", name, "see kornia's list of them")
        remedy = "see kornia's page of the class"
        if arguments.get("same_on_batch"):
            raise InputError(
                "images drawn apart", f"{name} with same_on_batch", "leave the argument out"
            )
        try:
            self._module = found(**arguments)
            draws = Draws(np.random.default_rng(0), torch.device("cpu"))
            result = tuple(self.apply(torch.zeros(2, *shape), draws).shape)
        except Exception as error:  # whatever a class of kornia does with wrong arguments
            message = " ".join(str(error).split())
            raise InputError(f"arguments for {name}", message or repr(error), remedy) from error
        if result != (2, *shape):
            raise InputError(f"{name} to keep the shape {shape}", f"{result[1:]}", remedy)

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed images."""
        devices = [values.device] if values.device.type == "cuda" else []
        seed = int(draws.generator.integers(2**63))
        with torch.random.fork_rng(devices=devices):
            # torch.manual_seed would also reach devices that are not forked here.
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed(seed)
            changed: Tensor = self._module(values)
        return changed
