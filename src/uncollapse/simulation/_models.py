"""What a simulation moves: free vectors, or a small network on Gaussian classes (float64)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse.errors import InputError
from uncollapse.records import Setting, SimulationOptions
from uncollapse.simulation._batches import labels_of

MOST_NUMBERS = 20_000_000


def generator_of(seed: int, stream: int) -> torch.Generator:
    """A generator of its own for each purpose of a seed, so that none depends on another.

    Examples:
        >>> first, second = generator_of(0, 1), generator_of(0, 2)
        >>> bool(torch.rand(1, generator=first) == torch.rand(1, generator=second))
        False
    """
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def check_model(setting: Setting, options: SimulationOptions) -> None:
    """Raise if the start does not fit into the dimension, or the embeddings into memory."""
    instances, p, m = int(np.sum(setting.counts)), setting.views, len(setting.counts)
    d = _dimension(setting)
    free = options.model == "vectors"
    largest = instances * p * max(d, 0 if free else max(options.width, options.input_dimension))
    if largest > MOST_NUMBERS:
        raise InputError(
            f"at most {MOST_NUMBERS:,} numbers in the embeddings",
            f"{instances * p:,} embeddings of dimension {d:,}",
            "simulate fewer instances or classes, or give a smaller dimension",
        )
    least = m - 1 + (instances - m if options.initial == "ssem" else 0)
    if options.initial != "random" and d < least:
        raise InputError(
            f"a dimension of at least {least} for this start",
            f"dimension {d}",
            "the simplices do not fit into fewer; start at random",
        )


def _dimension(setting: Setting) -> int:
    return setting.dimension or int(np.sum(setting.counts)) * setting.views


def make_model(setting: Setting, options: SimulationOptions, seed: int) -> Model:
    """The model of a run at its start, once `check_model` has nothing against it."""
    d = _dimension(setting)
    model: Model
    if options.model == "vectors":
        model = FreeVectors([_start(setting, options, d, generator_of(seed, 0))])
    else:
        model = _network(setting, options, d, seed)
    for parameter in model.parameters:
        parameter.requires_grad_(True)
    return model


@dataclass
class FreeVectors:
    """One vector per view of each instance, (n, p, d); the loss sees its direction alone."""

    parameters: list[Tensor]

    def embed(self, rows: Tensor) -> Tensor:
        """Embeddings of instances (b,) as they are trained, (b, p, d)."""
        return self.parameters[0][rows]

    def population(self) -> Tensor:
        """Embeddings of all instances as they are evaluated, (n, p, d)."""
        return self.parameters[0]

    def retract(self) -> None:
        """Unit length: else vectors grow with every step, and their steps on the sphere shrink."""
        with torch.no_grad():
            self.parameters[0] /= self.parameters[0].norm(dim=-1, keepdim=True)


@dataclass
class Network:
    """Linear maps with ReLU between them, on stored or fresh views of Gaussian instances."""

    parameters: list[Tensor]
    means: Tensor
    views: Tensor
    evaluated: Tensor
    augmentation: float
    fresh: torch.Generator | None

    def embed(self, rows: Tensor) -> Tensor:
        """Embeddings of the instances' views."""
        if self.fresh is None:
            return self._forward(self.views[rows])
        shape = (len(rows), *self.views.shape[1:])
        noise = torch.randn(shape, generator=self.fresh, dtype=torch.float64)
        return self._forward(self.means[rows][:, None] + self.augmentation * noise)

    def population(self) -> Tensor:
        """Embeddings of all instances: of the stored views, or of views never trained on."""
        return self._forward(self.evaluated)

    def retract(self) -> None:
        """Weights stay where they are."""

    def _forward(self, inputs: Tensor) -> Tensor:
        layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        for depth, (weight, bias) in enumerate(layers):
            inputs = inputs @ weight.T + bias
            if depth < len(layers) - 1:
                inputs = inputs.relu()
        return inputs


Model = FreeVectors | Network


def _network(setting: Setting, options: SimulationOptions, d: int, seed: int) -> Network:
    """Gaussian classes and a network at torch's default weights."""
    data, weights = generator_of(seed, 1), generator_of(seed, 0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=data, dtype=torch.float64)

    labels, width = labels_of(setting), options.input_dimension
    centres = normal(len(setting.counts), width)
    centres *= options.separation / centres.norm(dim=1, keepdim=True)
    means = centres[labels] + normal(len(labels), width)
    shape = (len(labels), setting.views, width)
    views = means[:, None] + options.augmentation * normal(*shape)
    evaluated = means[:, None] + options.augmentation * normal(*shape)
    sizes = [width, *[options.width] * options.depth, d]
    parameters = []
    for fan_in, fan_out in pairwise(sizes):
        for layer in ((fan_out, fan_in), (fan_out,)):
            uniform = torch.rand(layer, generator=weights, dtype=torch.float64)
            parameters.append((2 * uniform - 1) / fan_in**0.5)
    fresh = generator_of(seed, 4) if options.fresh_views else None
    trained_on = views if fresh is None else evaluated
    return Network(parameters, means, views, trained_on, options.augmentation, fresh)


def _start(
    setting: Setting, options: SimulationOptions, d: int, generator: torch.Generator
) -> Tensor:
    """Unit vectors (n, p, d) to start from."""
    counts, p = [int(n) for n in setting.counts], setting.views
    noise = torch.randn((sum(counts), p, d), generator=generator, dtype=torch.float64)
    if options.initial == "random":
        return normalize(noise, dim=-1)
    variance = options.initial_variance if options.initial == "ssem" else 0.0
    vectors = _simplices(counts, variance, d)
    square = torch.randn((d, d), generator=generator, dtype=torch.float64)
    rotated = vectors @ torch.linalg.qr(square)[0]
    moved = rotated[:, None] + options.initial_noise * noise / d**0.5
    return normalize(moved, dim=-1)


def _simplices(counts: Sequence[int], variance: float, d: int) -> Tensor:
    """A simplex of classes, each with its own orthogonal simplex of instances, (n, d).

    As `uncollapse.theory.ssem`, for classes of any size; one instance stays at its class's vertex.
    """
    m = len(counts)
    vectors = torch.zeros((sum(counts), d), dtype=torch.float64)
    row, column = 0, m - 1
    for vertex, count in zip(_simplex(m), counts, strict=True):
        inside = variance if count > 1 else 0.0
        vectors[row : row + count, : m - 1] = (1 - inside) ** 0.5 * vertex
        if inside > 0:
            own = inside**0.5 * _simplex(count)
            vectors[row : row + count, column : column + count - 1] = own
            column += count - 1
        row += count
    return vectors


def _simplex(vertices: int) -> Tensor:
    """Vertices of a regular simplex on the unit sphere, (k, k - 1)."""
    centred = torch.eye(vertices, dtype=torch.float64) - 1 / vertices
    basis = torch.linalg.eigh(centred)[1][:, 1:]
    vertices_of: Tensor = basis * (vertices / (vertices - 1)) ** 0.5
    return vertices_of
