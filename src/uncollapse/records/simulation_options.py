"""How a simulation minimises the loss, and over what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

Model = Literal["vectors", "mlp"]
Optimiser = Literal["lbfgs", "sgd", "adam"]
Schedule = Literal["cosine", "constant"]
Initial = Literal["random", "collapsed", "ssem"]


@dataclass(frozen=True, kw_only=True)
class SimulationOptions(Part):
    """How the loss is minimised, and over what.

    Attributes:
        model: "vectors": the embeddings themselves; "mlp": a network on Gaussian classes.
        optimiser: "lbfgs" (objectives without chance: full batches, or so few possible batches
            that all are summed), "sgd" or "adam". None: lbfgs for vectors and full batches, else
            adam.
        learning_rate: Of sgd and adam. None: sgd 1, adam 0.01; a tenth of these for a network.
        momentum: Of sgd, in [0, 1).
        schedule: Of the learning rate: "cosine" to 0 at the last step, or "constant".
        steps: Steps at most. None: 3000 for lbfgs, else 2000.
        initial: Start of vectors: "random" on the sphere; "collapsed": the simplex of the classes;
            "ssem": the simplex of simplices with `initial_variance`. Both are rotated at random.
        initial_variance: Within-class variance of "ssem", in (0, 1).
        initial_noise: Length of the Gaussian noise added to each vector of "collapsed" and "ssem"
            before it is put back on the sphere. Without noise their symmetry is never left.
        width: Units of each hidden layer of the network (ReLU).
        depth: Hidden layers of the network; 0 for a linear map.
        input_dimension: Dimension of the Gaussian classes.
        separation: Length of a class centre; instances scatter around it with deviation 1 in each
            dimension.
        augmentation: Deviation of the noise of each view around its instance.
        fresh_views: Whether every step draws new views; reached values are then on another draw.
        collapsed_below: A variance at or below this counts as none when the phase reached is named.

    Raises:
        InputError: A value is out of its range, or options do not go together.

    Examples:
        >>> SimulationOptions(model="mlp", width=32).depth
        2
    """

    model: Model = "vectors"
    optimiser: Optimiser | None = None
    learning_rate: float | None = None
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    steps: int | None = None
    initial: Initial = "random"
    initial_variance: float = 0.5
    initial_noise: float = 0.01
    width: int = 64
    depth: int = 2
    input_dimension: int = 32
    separation: float = 3.0
    augmentation: float = 0.5
    fresh_views: bool = False
    collapsed_below: float = 1e-3

    def __post_init__(self) -> None:
        _check_numbers(self)
        network = self.model == "mlp"
        if network and self.initial != "random":
            raise InputError(
                "a network that starts from random weights",
                f"initial = {self.initial!r} with a network",
                "collapsed and ssem are starts of free vectors",
            )
        if self.fresh_views and not network:
            raise InputError(
                "fresh views of a network's inputs",
                "fresh_views with free vectors",
                "free vectors have no inputs to augment: take the mlp",
            )
        if self.fresh_views and self.optimiser == "lbfgs":
            raise InputError(
                "an objective without chance for lbfgs",
                "fresh views at every step",
                "take sgd or adam, or fixed views",
            )


def _check_numbers(options: SimulationOptions) -> None:
    rules: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
        ("learning_rate", "a positive number", lambda v: v > 0),
        ("momentum", "a number in [0, 1)", lambda v: 0 <= v < 1),
        ("steps", "a whole number from 1", lambda v: v >= 1),
        ("initial_variance", "a number between 0 and 1", lambda v: 0 < v < 1),
        ("initial_noise", "a number from 0", lambda v: v >= 0),
        ("width", "a whole number from 1 to 4096", lambda v: 1 <= v <= 4096),
        ("depth", "a whole number from 0 to 32", lambda v: 0 <= v <= 32),
        ("input_dimension", "a whole number from 1 to 4096", lambda v: 1 <= v <= 4096),
        ("separation", "a number from 0", lambda v: v >= 0),
        ("augmentation", "a number from 0", lambda v: v >= 0),
        ("collapsed_below", "a number in [0, 1)", lambda v: 0 <= v < 1),
    )
    for name, expected, holds in rules:
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and holds(value)):
            raise InputError(f"{name} as {expected}", f"{name} = {value!r}", "change it")
    for name, known in (
        ("model", ("vectors", "mlp")),
        ("optimiser", ("lbfgs", "sgd", "adam", None)),
        ("schedule", ("cosine", "constant")),
        ("initial", ("random", "collapsed", "ssem")),
    ):
        if getattr(options, name) not in known:
            raise InputError(
                f"{name} as one of {', '.join(map(str, known))}",
                f"{name} = {getattr(options, name)!r}",
                "choose one",
            )
