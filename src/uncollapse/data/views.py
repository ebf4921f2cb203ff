"""The `views:` block of a configuration, and augmented views as a pure function of a key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from uncollapse.data.augmentations import Draws, KorniaOperation, Operation
from uncollapse.data.config import Strict
from uncollapse.data.dataset import Scales
from uncollapse.data.image_augmentations import OPERATIONS, Flip, Geometric, warp
from uncollapse.errors import InputError, fault_in_words
from uncollapse.records import InputKind

Strength = Literal["none", "weak", "medium", "strong"]
ListedOperation = str | dict[str, dict[str, Any]]

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
    """The operations of a named strength, in order; `flip` allows mirror images.

    Examples:
        >>> [operation.name for operation in preset("medium", image=True, flip=False)]
        ['crop', 'jitter', 'grey']
    """
    operations = _parsed((_IMAGES if image else _VECTORS)[strength])
    return [step for step in operations if flip or not isinstance(step, Flip)]


def _parsed(listed: Sequence[ListedOperation]) -> list[Operation]:
    """The operations of an explicit list; a ValueError where a name or an argument is not known."""
    operations: list[Operation] = []
    for item in listed:
        if isinstance(item, str):
            item = {item: {}}
        if len(item) != 1:
            raise ValueError(f"each item of the list is one {{name: {{arguments}}}}, not {item}")
        ((name, arguments),) = item.items()
        if name in OPERATIONS:
            try:
                operations.append(OPERATIONS[name].model_validate(arguments))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join([name, *map(str, first["loc"])])
                raise ValueError(fault_in_words(first, where)) from None
        elif name[:1].isupper():
            operations.append(KorniaOperation(kornia_class=name, arguments=arguments))
        else:
            raise ValueError(
                f"augmentation {name!r} is none of {', '.join(OPERATIONS)}, nor a class of "
                "kornia.augmentation"
            )
    return operations


def _augmented(values: Tensor, operations: Sequence[Operation], draws: Draws) -> Tensor:
    """A batch changed by operations in order, neighbouring affine ones with one interpolation."""
    for geometric, run in groupby(operations, lambda operation: isinstance(operation, Geometric)):
        if geometric:
            values = warp(values, cast("list[Geometric]", list(run)), draws)
        else:
            for operation in run:
                values = operation.apply(values, draws)
    return values


class Normalisation(Strict):
    """Numbers to normalise by: (value - mean) / std.

    Attributes:
        mean: One number, or one per channel or feature; of images on the scale [0, 1].
        std: The same, above 0.
    """

    mean: float | list[float]
    std: Annotated[float, Field(gt=0)] | list[Annotated[float, Field(gt=0)]]


class ViewsConfig(Strict):
    """The `views:` block of a configuration.

    Attributes:
        count: Views of an instance in a batch (p).
        augmentation: "none", "weak", "medium" or "strong" (see `preset`), or a list of operations,
            each a name or {name: {arguments}}: crop, shift, flip, rotate, jitter, grey, blur for
            images, mask and noise for vectors and stored views, or a class of kornia.augmentation.
        flip: Whether the named strengths mirror images: say false for digits, letters and the like.
        normalisation: "training" for mean and standard deviation of the training rows, "none", or
            numbers.

    Examples:
        >>> ViewsConfig(augmentation=[{"crop": {"scale": [0.5, 1.0]}}, "flip"]).count
        2
    """

    count: int = Field(default=2, ge=1, le=1000)
    augmentation: Strength | list[ListedOperation] = "medium"
    flip: bool = True
    normalisation: Literal["training", "none"] | Normalisation = "training"

    @model_validator(mode="after")
    def _operations_are_known(self) -> Self:
        if isinstance(self.augmentation, list):
            names = [operation.name for operation in _parsed(self.augmentation)]
            if "flip" in names and not self.flip:
                raise ValueError("flip is false, but the list of augmentations has a flip")
        return self


class Augmenter:
    """Turns rows as they are read into views, and into plain inputs for evaluation.

    Images become float32 in [0, 1], are changed and then normalised; vectors are changed and then
    normalised. Of stored views, `count` different ones are drawn and then changed as vectors are.

    The shape of a row is (C, H, W), (D,) or (V, D). The scales are those of the training rows, and
    needed for normalisation "training", and for mask and noise.

    Examples:
        >>> config = ViewsConfig(augmentation="weak", normalisation="none")
        >>> augmenter = Augmenter(config, "image", (1, 8, 8))
        >>> augmenter.views(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), key=(0, 0, 0)).shape
        torch.Size([3, 2, 1, 8, 8])
    """

    def __init__(
        self,
        config: ViewsConfig,
        kind: InputKind,
        shape: tuple[int, ...],
        scales: Scales | None = None,
    ) -> None:
        self.count, self._kind, self._scales = config.count, kind, scales
        if isinstance(config.augmentation, list):
            self._operations = _parsed(config.augmentation)
        else:
            named = preset(config.augmentation, image=kind == "image", flip=config.flip)
            self._operations = [step for step in named if step.channels in (None, shape[0])]
        for operation in self._operations:
            if operation.for_images != (kind == "image"):
                usable = [
                    name
                    for name, other in OPERATIONS.items()
                    if other.for_images != operation.for_images
                ]
                raise InputError(
                    f"augmentations for rows of kind {kind} ({', '.join(usable)})",
                    operation.name,
                    "leave it out",
                )
            operation.check(shape)
        if kind == "views" and config.count > shape[0]:
            raise InputError(
                f"at most the {shape[0]} stored views",
                f"count = {config.count}",
                "ask for fewer views, or store more",
            )
        length = shape[0] if kind == "image" else shape[-1]
        scaled = any(not operation.for_images for operation in self._operations)
        if scales is None and (scaled or config.normalisation == "training"):
            raise InputError(
                "mean and standard deviation of the training rows",
                "none",
                "give scales=training_scales(inputs, rows)",
            )
        if scales is not None and scales.mean.shape != (length,):
            raise InputError(
                f"scales of {length} {'channels' if kind == 'image' else 'features'}",
                f"{len(scales.mean)}",
                "measure them on the same inputs",
            )
        self._mean, self._std = self._normalisation(config.normalisation, length)

    def _normalisation(self, given: str | Normalisation, length: int) -> list[Tensor]:
        """Mean and standard deviation to normalise by, for each channel or feature."""
        mean: Any = 0  # for "none"
        std: Any = 1
        if isinstance(given, Normalisation):
            mean, std = given.mean, given.std
        elif given == "training" and self._scales is not None:
            # What never changes is only centred.
            mean, std = self._scales.mean, np.where(self._scales.std > 0, self._scales.std, 1)
        pair = [np.atleast_1d(np.asarray(values, dtype=np.float32)) for values in (mean, std)]
        for values in pair:
            if len(values) not in (1, length):
                raise InputError(
                    f"1 or {length} numbers for mean and std of the normalisation",
                    f"{len(values)}",
                    "give one number, or one per channel or feature",
                )
        tail = (1, 1) if self._kind == "image" else ()
        return [torch.from_numpy(v).expand(length).reshape(-1, *tail) for v in pair]

    def views(self, raw: Tensor, *, key: tuple[int, ...]) -> Tensor:
        """Views (n, p, ...) of rows as `inputs.read` gives them; without an augmentation all equal.

        The key is all that random numbers depend on: no global generator is read or changed.
        """
        generator = np.random.default_rng(np.random.SeedSequence(key))
        draws = Draws(generator, raw.device, self._scales)
        values = _as_float(raw)
        if self._kind == "views":
            order = draws.uniform((len(values), values.shape[1])).argsort(dim=1)[:, : self.count]
            values = values.gather(1, order[:, :, None].expand(-1, -1, values.shape[2]))
            values = values.flatten(0, 1)
        else:
            values = values.repeat_interleave(self.count, dim=0)
        if len(values):
            values = _augmented(values, self._operations, draws)
        return self._normalised(values).reshape(len(raw), self.count, *values.shape[1:])

    def plain(self, raw: Tensor) -> Tensor:
        """The rows (n, ...) for evaluation: normalised only; of stored views the first one."""
        values = _as_float(raw)
        return self._normalised(values[:, 0] if self._kind == "views" else values)

    def _normalised(self, values: Tensor) -> Tensor:
        return (values - self._mean.to(values.device)) / self._std.to(values.device)


def _as_float(raw: Tensor) -> Tensor:
    return raw.to(torch.float32) / 255 if raw.dtype == torch.uint8 else raw.to(torch.float32)
