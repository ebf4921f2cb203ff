"""What a simulation moves: free vectors, or a small network on Gaussian classes (float64)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse.errors import InputError
from uncollapse.records import Setting, SimulationOptions
from uncollapse.simulation._batches import labels_of

MOST_NUMBERS = 20_000_000


class Embedder(NamedTuple):
    """What is moved, and the embeddings that it gives."""

    parameters: list[Tensor]
    embed: Callable[[Tensor], Tensor]  # instances (b,) as they are trained, (b, p, d)
    population: Callable[[], Tensor]  # all instances as they are evaluated, (n, p, d)


def generator_of(seed: int, stream: int) -> torch.Generator:
    """A generator of its own for each purpose of a seed, so that none depends on another."""
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def check_model(setting: Setting, options: SimulationOptions) -> None:
    """Raise if the start does not fit into the dimension, or the embeddings into memory."""
    instances, p, m = setting.instances, setting.views, len(setting.counts)
    d = _dimension(setting)
    inner = () if options.model == "vectors" else (options.width, options.input_dimension)
    if instances * p * max(d, *inner, 0) > MOST_NUMBERS:
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
    return setting.dimension or setting.instances * setting.views


def make_model(setting: Setting, options: SimulationOptions, seed: int) -> Embedder:
    """The model of a run at its start, once `check_model` has nothing against it.

    One free vector per view of each instance, of which the loss sees the direction alone; or a
    network of linear maps with ReLU between them.
    """
    if options.model == "mlp":
        return _network(setting, options, seed)
    vectors = _start(setting, options, generator_of(seed, 0)).requires_grad_(True)
    return Embedder([vectors], lambda rows: vectors[rows], lambda: vectors)


def _network(setting: Setting, options: SimulationOptions, seed: int) -> Embedder:
    """Gaussian classes and a network at torch's default weights.

    It is evaluated on the stored views that it is trained on; where every step draws fresh ones, on
    views never trained on.
    """
    data, weights, fresh = (generator_of(seed, stream) for stream in (1, 0, 4))

    def normal(generator: torch.Generator, *shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def views_of(instances: Tensor, generator: torch.Generator) -> Tensor:
        noise = normal(generator, len(instances), setting.views, width)
        return instances[:, None] + options.augmentation * noise

    labels, width = labels_of(setting), options.input_dimension
    centres = normal(data, len(setting.counts), width)
    centres *= options.separation / centres.norm(dim=1, keepdim=True)
    instances = centres[labels] + normal(data, len(labels), width)
    stored, unseen = views_of(instances, data), views_of(instances, data)
    parameters = []
    for fan_in, fan_out in pairwise([width, *[options.width] * options.depth, _dimension(setting)]):
        for shape in ((fan_out, fan_in), (fan_out,)):
            uniform = torch.rand(shape, generator=weights, dtype=torch.float64)
            parameters.append(((2 * uniform - 1) / fan_in**0.5).requires_grad_(True))

    def forward(inputs: Tensor) -> Tensor:
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        for weight, bias in layers[:-1]:
            inputs = (inputs @ weight.T + bias).relu()
        weight, bias = layers[-1]
        outputs: Tensor = inputs @ weight.T + bias
        return outputs

    if options.fresh_views:
        return Embedder(
            parameters,
            lambda rows: forward(views_of(instances[rows], fresh)),
            lambda: forward(unseen),
        )
    return Embedder(parameters, lambda rows: forward(stored[rows]), lambda: forward(stored))


def _start(setting: Setting, options: SimulationOptions, generator: torch.Generator) -> Tensor:
    """Unit vectors (n, p, d) to start from."""
    counts, d = [int(n) for n in setting.counts], _dimension(setting)
    shape = (sum(counts), setting.views, d)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
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
    basis: Tensor = torch.linalg.eigh(centred)[1][:, 1:]
    return basis.mul((vertices / (vertices - 1)) ** 0.5)
