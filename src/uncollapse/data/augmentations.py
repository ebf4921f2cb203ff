"""Random changes of a batch, drawn for each view apart from a generator that is handed in.

Images are float32 (n, C, H, W) in [0, 1], vectors float32 (n, D).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from uncollapse.data.config import Strict
from uncollapse.data.dataset import Scales
from uncollapse.errors import InputError

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Draws:
    """Random numbers of one call, and the scales of the training rows.

    Numbers come from numpy on the CPU, so they are the same on every device.
    """

    generator: np.random.Generator
    device: torch.device
    scales: Scales | None = None

    def uniform(self, shape: int | tuple[int, ...], low: float = 0, high: float = 1) -> Tensor:
        """Uniform in [low, high), float32."""
        drawn = self.generator.random(shape, dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device) * (high - low) + low

    def chosen(self, shape: int | tuple[int, ...], probability: float) -> Tensor:
        """True with a probability, for each of a shape apart."""
        return self.uniform(shape) < probability

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, float32."""
        drawn = self.generator.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)


class Operation(Strict):
    """One random change; its fields are the arguments that a configuration may give."""

    for_images: ClassVar[bool] = True  # else of vectors
    channels: ClassVar[int | None] = None  # None: any number

    @property
    def name(self) -> str:
        """As a configuration writes it."""
        return type(self).__name__.lower()

    @abstractmethod
    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed batch, a new tensor."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse it for rows of that shape that it cannot change."""
        if self.channels not in (None, shape[0]):
            raise InputError(
                "images of 3 channels for grey", f"{shape[0]} channels", "leave grey out"
            )


class Mask(Operation):
    """Features replaced by their mean over the training rows.

    Attributes:
        p: Share of the features, each drawn alone.
    """

    for_images = False

    p: Probability = 0.2

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The batch with other features masked in every row."""
        assert draws.scales is not None
        mean = torch.from_numpy(draws.scales.mean).to(values)
        return torch.where(draws.chosen(tuple(values.shape), self.p), mean, values)


class Noise(Operation):
    """Gaussian noise.

    Attributes:
        std: Of each feature's noise, as a share of its standard deviation over the training rows.
    """

    for_images = False

    std: Annotated[float, Field(ge=0)] = 0.1

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The batch with noise added."""
        assert draws.scales is not None
        std = torch.from_numpy(draws.scales.std).to(values)
        return values + draws.normal(tuple(values.shape)) * std * self.std


class KorniaOperation(Operation):
    """A class of kornia.augmentation, drawn for each image apart.

    Kornia draws from torch's global generator, which gets a seed for the call and is put back.
    """

    kornia_class: str  # such as "RandomErasing"
    arguments: dict[str, Any]  # by keyword; same_on_batch is always False

    @property
    def name(self) -> str:
        """The name of kornia's class."""
        return self.kornia_class

    @cached_property
    def _module(self) -> torch.nn.Module:
        import kornia.augmentation

        module: torch.nn.Module = getattr(kornia.augmentation, self.name)(**self.arguments)
        return module

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

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse it unless it works on images of shape (C, H, W) and keeps that shape."""
        import kornia.augmentation as kornia

        named = getattr(kornia, self.name, None)
        if not (isinstance(named, type) and issubclass(named, kornia.AugmentationBase2D)):
            raise InputError(
                "a class of kornia.augmentation", self.name, "see kornia's list of them"
            )
        if self.arguments.get("same_on_batch"):
            raise InputError(
                "images drawn apart", f"{self.name} with same_on_batch", "leave the argument out"
            )
        remedy = "see kornia's page of the class"
        try:
            draws = Draws(np.random.default_rng(0), torch.device("cpu"))
            result = tuple(self.apply(torch.zeros(2, *shape), draws).shape)
        except Exception as error:  # whatever a class of kornia does with wrong arguments
            message = " ".join(str(error).split())
            raise InputError(
                f"arguments for {self.name}", message or repr(error), remedy
            ) from error
        if result != (2, *shape):
            raise InputError(f"{self.name} to keep the shape {shape}", f"{result[1:]}", remedy)
