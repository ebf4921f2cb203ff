"""Candidates that need no training: what the present run, and the encoder before it, give already.

- The other layer of the run.
- A linear map of the embedding without labels: centred, or whitened (`uncollapse.metrics`), fitted
  on training rows.
- The base: the inputs as the encoder receives them (images averaged down to 32 pixels a side),
  and of images or given weights also the encoder before training. A frozen backbone is its own
  base.
- The present embedding and the base side by side, as unit vectors.

All come from one pass over the rows of a run of the present setting.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.metrics import LinearMap, fit_linear_map
from uncollapse.records import PilotOptions, Trial
from uncollapse.storage import beside
from uncollapse.training import Encoder, Problem, embed_rows, flat_inputs, joined

LAYERS = ("projector", "backbone")
MAPS = "maps.safetensors"

Layers = dict[str, NDArray[np.float32]]
MapKind = Literal["centred", "whitened"]


@dataclass(frozen=True)
class FreeCandidate:
    """An embedding that costs no training.

    Attributes:
        name: For the user, and of its scores.
        sources: The layer that it is, or two that stand side by side.
        linear: The map of the layer, if any.
        deployments: The answers to `deploy` under which it can be deployed.
        base: Whether it is what there was before training.
    """

    name: str
    sources: tuple[str, ...]
    linear: MapKind | None = None
    deployments: frozenset[str] = frozenset({"any"})
    base: bool = False

    def trial(self, options: PilotOptions) -> Trial:
        """The candidate before any run."""
        return Trial(
            name=self.name,
            kind="free",
            layer=self.name,
            deployable=options.deployed in self.deployments,
            size=0.0,
        )


def free_candidates(problem: Problem, options: PilotOptions) -> tuple[FreeCandidate, ...]:
    """What can be had without training, under these options."""
    encoder, headless = problem.config.encoder, not problem.config.head.layers
    bases = base_layers(problem)
    present = options.layer
    candidates = []

    def add(name: str, *sources: str, linear: MapKind | None = None, at: str = "") -> None:
        places = set(LAYERS) if headless and at else {at} - {""}
        base = name in bases or (encoder.frozen and name == "backbone")
        candidate = FreeCandidate(name, sources, linear, frozenset({*places, "any"}), base)
        candidates.append(candidate)

    if not headless:
        other = next(layer for layer in LAYERS if layer != present)
        add(other, other, at=other)
    for layer in dict.fromkeys((present, *options.judged)):
        if not headless or layer == present:
            add(f"{layer}-centred", layer, linear="centred", at=layer)
            add(f"{layer}-whitened", layer, linear="whitened", at=layer)
    for name in bases:
        add(name, name, at="backbone")
    second = "pretrained" if "pretrained" in bases else "inputs"
    if encoder.frozen and present != "backbone":
        second = "backbone"
    add(f"{present}-beside-{second}", present, second)
    return tuple(candidates)


def base_layers(problem: Problem) -> tuple[str, ...]:
    """What there was before training: the inputs, and the encoder with its initial weights."""
    encoder, image = problem.config.encoder, problem.data.inputs.kind == "image"
    if encoder.frozen:
        return ("inputs",)
    if encoder.weights is not None:
        return ("inputs", "pretrained")
    return ("inputs", "untrained") if image else ("inputs",)


def reference_of(problem: Problem) -> str:
    """The base that retention is held against: the best informed one."""
    if problem.config.encoder.frozen:
        return "backbone"
    return "pretrained" if problem.config.encoder.weights is not None else "inputs"


def references(problem: Problem, options: PilotOptions) -> tuple[str, ...]:
    """What retention is held against; at the projector the run's own backbone comes second."""
    base = reference_of(problem)
    own = options.judged == ("projector",) and problem.config.head.layers
    return (base, "backbone") if own and base != "backbone" else (base,)


class _WithBase(Encoder):
    """A trained encoder, and the base beside it."""

    def __init__(self, model: Encoder, before: nn.Module | None, name: str) -> None:
        super().__init__(model.backbone, model.head, frozen=model.frozen)
        self.before, self.name = before, name

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        """Outputs of the encoder's layers and of the base's."""
        layers = super().layers(inputs) | {"inputs": flat_inputs(inputs)}
        if self.before is not None:
            layers[self.name] = self.before(inputs)
        return layers


@dataclass(frozen=True)
class Free:
    """Free candidates of a run, and the encoder before training that some of them need."""

    candidates: tuple[FreeCandidate, ...]
    before: nn.Module | None
    name: str

    @classmethod
    def of(
        cls,
        problem: Problem,
        candidates: Iterable[FreeCandidate] = (),
        references: Iterable[str] = (),
    ) -> Free:
        """Those of a problem whose model has not been trained yet."""
        candidates, name = tuple(candidates), base_layers(problem)[-1]
        needed = {*references, *(source for c in candidates for source in c.sources)}
        before = copy.deepcopy(problem.model.backbone) if name in needed - {"inputs"} else None
        return cls(candidates, before, name)

    def judges(self, name: str) -> bool:
        """Whether retention says something of a layer: not of the base, alone or beside another."""
        base = {name for c in self.candidates if c.base for name in c.sources}
        own = next((c.sources for c in self.candidates if c.name == name), (name,))
        return not base & set(own)

    def model(self, trained: Encoder) -> Encoder:
        """The encoder with the base's layers beside its own."""
        return _WithBase(trained, self.before, self.name)

    def maps(self, train: Mapping[str, NDArray[np.float32]]) -> dict[str, LinearMap]:
        """The linear maps, fitted on (N, d) training rows of each layer."""
        return {
            c.name: fit_linear_map(train[c.sources[0]], c.linear)
            for c in self.candidates
            if c.linear is not None
        }

    def fitted(self, train: Mapping[str, NDArray[np.float32]]) -> Callable[[Layers], Layers]:
        """What adds the candidates to layers (..., d), with maps that are fitted on these rows."""
        maps = self.maps(train)

        def added(layers: Layers) -> Layers:
            every = {name: layers[name] for name in LAYERS}
            for c in self.candidates:
                parts = [layers[name] for name in c.sources]
                if len(parts) > 1:
                    every[c.name] = np.concatenate([_unit(part) for part in parts], axis=-1)
                else:
                    every[c.name] = maps[c.name](parts[0]) if c.name in maps else parts[0]
            return every

        return added

    def write_maps(self, problem: Problem, folder: Path) -> None:
        """Write the maps of a trained run to its folder."""
        from safetensors.numpy import save_file

        rows = problem.data.rows("train")
        embedded = joined(
            embed_rows(
                problem.model,
                problem.data,
                rows,
                problem.augmenter,
                precision=problem.config.precision,
            )
        )
        maps = self.maps({name: values[:, 0] for name, values in embedded.items()})
        tensors = {
            f"{name}.{part}": np.ascontiguousarray(values)
            for name, linear in maps.items()
            for part, values in (("mean", linear.mean), ("matrix", linear.matrix))
        }
        with beside(folder / MAPS) as path:
            save_file(tensors, path)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def copy_map(run: Path, name: str, path: Path) -> None:
    """Write a map of a run's folder to a file of its own: `mean` (d,) and `matrix` (d, d)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    file, remedy = run / MAPS, f"take {run} out, and the run is done again"
    if not file.is_file():  # a pipe would be waited for
        raise InputError(f"the maps in {file}", "no file", remedy)
    try:
        tensors = load_file(file)
        linear = {key: tensors[f"{name}.{key}"] for key in ("mean", "matrix")}
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"the maps in {file}", f"{error}"[:120], remedy) from error
    d = len(linear["mean"].reshape(-1))
    if (linear["mean"].shape, linear["matrix"].shape) != ((d,), (d, d)):
        shapes = f"{linear['mean'].shape} and {linear['matrix'].shape}"
        raise InputError(f"a map by (d,) and (d, d) in {file}", shapes, remedy)
    with beside(path) as part:
        save_file(linear, part)
