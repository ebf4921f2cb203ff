"""Augmentations by name: the operations of a configuration, and the strengths made of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, cast

from pydantic import ValidationError
from torch import Tensor

from uncollapse.data.augmentations import Draws, KorniaOperation, Mask, Noise, Operation
from uncollapse.data.image_augmentations import (
    Blur,
    Crop,
    Flip,
    Geometric,
    Grey,
    Jitter,
    Rotate,
    Shift,
    warp,
)
from uncollapse.errors import InputError
from uncollapse.records import InputKind

Strength = Literal["none", "weak", "medium", "strong"]
ListedOperation = str | dict[str, dict[str, Any]]

_OPERATIONS: dict[str, type[Operation]] = {
    operation.__name__.lower(): operation
    for operation in (Crop, Shift, Flip, Rotate, Jitter, Grey, Blur, Mask, Noise)
}

_FULL_JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
# SupContrast's and the paper's CIFAR views are medium, SimCLR's ImageNet views strong.
_IMAGES: dict[Strength, list[ListedOperation]] = {
    "none": [],
    "weak": ["shift", "flip"],
    "medium": ["crop", "flip", "jitter", "grey"],
    "strong": [
        {"crop": {"scale": (0.08, 1.0)}}, "flip", {"jitter": _FULL_JITTER}, "grey", "blur",
    ],
}  # fmt: skip
_VECTORS: dict[Strength, list[ListedOperation]] = {
    "none": [],
    "weak": [{"mask": {"p": 0.1}}, {"noise": {"std": 0.1}}],
    "medium": [{"mask": {"p": 0.2}}, {"noise": {"std": 0.2}}],
    "strong": [{"mask": {"p": 0.4}}, {"noise": {"std": 0.4}}],
}


def preset(strength: Strength, *, image: bool, flip: bool) -> list[Operation]:
    """The operations of a named strength, in order.

    Args:
        strength: The name.
        image: Whether it is for images; else for vectors and stored views.
        flip: Whether images are mirrored; not for digits, letters and the like.

    Examples:
        >>> [operation.name for operation in preset("medium", image=True, flip=False)]
        ['crop', 'jitter', 'grey']
    """
    operations = parsed((_IMAGES if image else _VECTORS)[strength])
    return [step for step in operations if flip or not isinstance(step, Flip)]


def parsed(listed: Sequence[ListedOperation]) -> list[Operation]:
    """The operations of an explicit list.

    Raises:
        ValueError: A name or an argument is not known.
    """
    operations: list[Operation] = []
    for item in listed:
        if isinstance(item, str):
            item = {item: {}}
        if len(item) != 1:
            raise ValueError(f"each item of the list is one {{name: {{arguments}}}}, not {item}")
        ((name, arguments),) = item.items()
        if name in _OPERATIONS:
            try:
                operations.append(_OPERATIONS[name].model_validate(arguments))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join([name, *map(str, first["loc"])])
                raise ValueError(f"{where}: {first['msg']}") from None
        elif name[:1].isupper():
            operations.append(KorniaOperation(kornia_class=name, arguments=arguments))
        else:
            raise ValueError(
                f"augmentation {name!r} is none of {', '.join(_OPERATIONS)}, nor a class of "
                "kornia.augmentation"
            )
    return operations


def check_fit(operation: Operation, kind: InputKind, shape: tuple[int, ...]) -> None:
    """Refuse an operation that is not for rows of a kind and shape, or that kornia refuses."""
    changes = "image" if kind == "image" else "vector"
    if operation.changes != changes:
        usable = [name for name, known in _OPERATIONS.items() if known.changes == changes]
        raise InputError(
            f"augmentations for rows of kind {kind} ({', '.join(usable)})",
            operation.name,
            "leave it out",
        )
    if isinstance(operation, KorniaOperation):
        operation.check(shape)
    if operation.channels not in (None, shape[0]):
        raise InputError("images of 3 channels for grey", f"{shape[0]} channels", "leave grey out")


def augmented(values: Tensor, operations: Sequence[Operation], draws: Draws) -> Tensor:
    """A batch changed by operations in order, neighbouring affine ones with one interpolation."""
    for geometric, run in groupby(operations, lambda operation: isinstance(operation, Geometric)):
        if geometric:
            values = warp(values, cast("list[Geometric]", list(run)), draws)
        else:
            for operation in run:
                values = operation.apply(values, draws)
    return values
