"""Augmented views of a batch, as a pure function of a key."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from uncollapse.data.augmentation_presets import (
    ListedOperation,
    Strength,
    augmented,
    check_fit,
    parsed,
    preset,
)
from uncollapse.data.augmentations import Draws
from uncollapse.data.config import Strict
from uncollapse.data.scales import Scales
from uncollapse.errors import InputError
from uncollapse.records import InputKind


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
        augmentation: "none", "weak", "medium" or "strong" (see `augmentation_presets.preset`),
            or a list of operations, each a name or {name: {arguments}}: crop, shift, flip, rotate,
            jitter, grey, blur for images, mask and noise for vectors and stored views, or a class
            of kornia.augmentation.
        flip: Whether the named strengths mirror images: say false for digits, letters and the like.
        normalisation: "training" for mean and standard deviation of the training rows, "none", or
            numbers.

    Examples:
        >>> ViewsConfig(augmentation=[{"crop": {"scale": [0.5, 1.0]}}, "flip"]).count
        2
    """

    count: int = Field(default=2, ge=1)
    augmentation: Strength | list[ListedOperation] = "medium"
    flip: bool = True
    normalisation: Literal["training", "none"] | Normalisation = "training"

    @model_validator(mode="after")
    def _operations_are_known(self) -> Self:
        if isinstance(self.augmentation, list):
            names = [operation.name for operation in parsed(self.augmentation)]
            if "flip" in names and not self.flip:
                raise ValueError("flip is false, but the list of augmentations has a flip")
        return self


class Augmenter:
    """Turns rows as they are read into views, and into plain inputs for evaluation.

    Images become float32 in [0, 1], are changed and then normalised; vectors are changed and then
    normalised. Of stored views, `count` different ones are drawn and then changed as vectors are.

    Args:
        config: What to do.
        kind: What a row is: "image", "vector" or "views".
        shape: Shape of a row: (C, H, W), (D,) or (V, D).
        scales: Of the training rows (`training_scales`); needed for normalisation "training", and
            for mask and noise.

    Raises:
        InputError: An operation is not for this kind of row, more views than there are stored, or
            scales that are needed are missing or of another length.

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
        self._config, self._kind, self._scales = config, kind, scales
        if isinstance(config.augmentation, list):
            self._operations = parsed(config.augmentation)
        else:
            named = preset(config.augmentation, image=kind == "image", flip=config.flip)
            self._operations = [step for step in named if step.channels in (None, shape[0])]
        for operation in self._operations:
            check_fit(operation, kind, shape)
        if kind == "views" and config.count > shape[0]:
            raise InputError(
                f"at most the {shape[0]} stored views",
                f"count = {config.count}",
                "ask for fewer views, or store more",
            )
        length = shape[0] if kind == "image" else shape[-1]
        scaled = any(operation.changes == "vector" for operation in self._operations)
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
        self._mean, self._std = _normalisation(config, scales, length)

    @property
    def count(self) -> int:
        """Views of an instance (p)."""
        return self._config.count

    def views(self, raw: Tensor, *, key: tuple[int, ...]) -> Tensor:
        """Different views of each row, the same for the same key.

        Args:
            raw: (n, ...) uint8 images or float32, as `inputs.read` gives them.
            key: Non-negative integers; all that the random numbers depend on. Torch's and numpy's
                global generators are neither read nor changed.

        Returns:
            (n, p, ...) float32; without an augmentation the views of a row are equal.
        """
        count = self._config.count
        generator = np.random.default_rng(np.random.SeedSequence(key))
        draws = Draws(generator, raw.device, self._scales)
        values = self._as_float(raw)
        if self._kind == "views":
            order = draws.uniform((len(values), values.shape[1])).argsort(dim=1)[:, :count]
            values = values.gather(1, order[:, :, None].expand(-1, -1, values.shape[2]))
            values = values.flatten(0, 1)
        else:
            values = values.repeat_interleave(count, dim=0)
        if len(values):
            values = augmented(values, self._operations, draws)
        return self._normalised(values).reshape(len(raw), count, *values.shape[1:])

    def plain(self, raw: Tensor) -> Tensor:
        """The rows for evaluation: normalised only; of stored views the first one.

        Args:
            raw: (n, ...) as for `views`.

        Returns:
            (n, ...) float32; (n, D) of stored views.
        """
        values = self._as_float(raw)
        return self._normalised(values[:, 0] if self._kind == "views" else values)

    def _as_float(self, raw: Tensor) -> Tensor:
        return raw.to(torch.float32) / 255 if raw.dtype == torch.uint8 else raw.to(torch.float32)

    def _normalised(self, values: Tensor) -> Tensor:
        tail = (1, 1) if self._kind == "image" else ()
        mean, std = (
            torch.from_numpy(x).to(values.device).view(-1, *tail) for x in (self._mean, self._std)
        )
        return (values - mean) / std


def _normalisation(
    config: ViewsConfig, scales: Scales | None, length: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation to normalise by, each of shape (length,)."""
    given = config.normalisation
    if isinstance(given, Normalisation):
        pair = [np.atleast_1d(np.asarray(v, dtype=np.float32)) for v in (given.mean, given.std)]
        for values in pair:
            if len(values) not in (1, length):
                raise InputError(
                    f"1 or {length} numbers for mean and std of the normalisation",
                    f"{len(values)}",
                    "give one number, or one per channel or feature",
                )
        mean, std = (np.broadcast_to(v, (length,)).copy() for v in pair)
        return mean, std
    if given == "none" or scales is None:
        return np.zeros(length, dtype=np.float32), np.ones(length, dtype=np.float32)
    # What never changes is only centred.
    return scales.mean, np.where(scales.std > 0, scales.std, 1).astype(np.float32)
