"""Checkpoints: safetensors and JSON, written beside and renamed, so that a whole one always exists.

A checkpoint is a folder with `model.safetensors`, `optimiser.safetensors` and `state.json`. The
files `last.json` and `best.json` beside it name the ones that count; a folder that neither names is
left over from a run that was killed, and is removed when the run is resumed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from uncollapse.errors import InputError
from uncollapse.records import Count, Document, NotNegative, Part, read_json
from uncollapse.storage import unwritable, write_json
from uncollapse.training.problem import Problem

Which = Literal["last", "best"]
_REMEDY = "copy the run's folder again"


@dataclass(frozen=True)
class Means(Part):
    """Sums over the steps of an epoch, saved with a checkpoint in the middle of it."""

    steps: Count
    sums: dict[str, float]

    def plus(self, values: Mapping[str, float]) -> Means:
        """With one step more."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return Means(self.steps + 1, self.sums | sums)

    def means(self) -> dict[str, float]:
        """Mean of every quantity over the steps so far."""
        return {name: value / self.steps for name, value in self.sums.items()}


@dataclass(frozen=True)
class BestEpoch(Part):
    """The best epoch so far: by which measure, its value there, and when."""

    by: str
    value: float
    step: Count
    epoch: Count


@dataclass(frozen=True, kw_only=True)
class RunState(Document):
    """Where a run stands."""

    kind: ClassVar[str] = "checkpoint"
    epoch: Count  # Complete ones.
    offset: Count  # Steps of the next one that are done.
    step: Count  # In all.
    means: Means  # Of the epoch under way.
    seconds: NotNegative  # Of training.
    best: BestEpoch | None = None  # None without measures.
    log_inverse_temperature: float | None = None  # None where it is not learned.


@dataclass(frozen=True)
class _ParameterGroup(Part):
    """Of a group of parameters what tells it from another; the rest the configuration says."""

    params: tuple[Count, ...]
    lr: NotNegative
    weight_decay: NotNegative


@dataclass(frozen=True)
class _OptimiserNote(Part):
    groups: tuple[_ParameterGroup, ...]
    numbers: dict[str, None]  # Empty: a state that is no tensor is none of these optimisers'.


@dataclass(frozen=True, kw_only=True)
class _StateFile(RunState):
    """state.json, with what is said of the optimiser beside its tensors' own file."""

    optimiser: _OptimiserNote


@dataclass(frozen=True)
class _Named(Document):
    """last.json or best.json: the name of a checkpoint's folder."""

    kind: ClassVar[str] = "checkpoint-name"
    checkpoint: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read; the optimiser's tensors are named "PARAMETER.NAME"."""

    folder: Path
    state: RunState
    model: dict[str, Tensor]
    groups: tuple[_ParameterGroup, ...]
    tensors: dict[str, Tensor]

    def load_model(self, model: nn.Module) -> None:
        """Put the weights into a model of the same configuration."""
        wanted = model.state_dict()
        for name, tensor in self.model.items():
            if name in wanted and tensor.dtype != wanted[name].dtype:
                raise self._damaged("model.safetensors", f"{name} of type {tensor.dtype}")
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise self._damaged("model.safetensors", f"{name} with a NaN or an infinity")
        try:
            model.load_state_dict(self.model)
        except RuntimeError as error:
            raise InputError(
                f"weights of the encoder that {self.folder.parents[1] / 'config.yaml'} describes",
                " ".join(str(error).split())[:160],
                "restore the run's config.yaml",
            ) from error

    def load_optimiser(self, optimiser: Optimizer) -> None:
        """Put its state back; its groups are as the configuration says, its rate is the step's."""
        groups = optimiser.state_dict()["param_groups"]
        state: dict[int, dict[str, Tensor]] = {}
        own = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        if [list(group.params) for group in self.groups] != [group["params"] for group in groups]:
            raise self._damaged("state.json", "optimiser.groups of other parameters")
        for key, tensor in self.tensors.items():
            number, _, name = key.partition(".")
            if not number.isdecimal() or int(number) >= len(own):
                raise self._damaged("optimiser.safetensors", f"{key} of no parameter")
            if tensor.shape not in ((), own[int(number)].shape):
                raise self._damaged("optimiser.safetensors", f"{key} of shape {tensor.shape}")
            state.setdefault(int(number), {})[name] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": groups})

    def check_progress(self, problem: Problem) -> None:
        """Refuse a state that no run of this problem reaches."""
        _name(self.folder.parent, "best")  # It is read again at the end of an epoch.
        state, steps, epochs = self.state, problem.sampler.steps, problem.config.epochs
        fits = state.epoch * steps + state.offset == state.step and state.epoch <= epochs
        if not fits or not state.means.steps == state.offset < steps:
            raise self._damaged(
                "state.json",
                f"epoch {state.epoch} of {epochs}, offset {state.offset} of {steps}, "
                f"step {state.step}, means.steps {state.means.steps}, which do not fit together",
            )

        learns = problem.config.loss.learn_temperature is not None
        if learns != (state.log_inverse_temperature is not None):
            found = state.log_inverse_temperature
            raise self._damaged("state.json", f"log_inverse_temperature {found}")

    def _damaged(self, file: str, wrong: str) -> InputError:
        return InputError(f"a whole checkpoint in {self.folder / file}", wrong, _REMEDY)


def write_checkpoint(
    folder: Path, model: nn.Module, optimiser: Optimizer, state: RunState, *, best: bool
) -> None:
    """Write a checkpoint and point `last` to it, and `best` too where it is the best so far."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = model.state_dict()
    if not all(bool(t.isfinite().all()) for t in weights.values() if t.is_floating_point()):
        raise InputError(
            "finite weights",
            f"NaN or infinity after step {state.step}",
            "lower optimiser.learning_rate; the last good checkpoint is kept",
        )
    stepped = optimiser.state_dict()
    tensors = {
        f"{number}.{name}": value
        for number, values in stepped["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)  # None for a momentum of 0.
    }
    plain = {"optimiser": {"groups": stepped["param_groups"], "numbers": {}}}
    name = f"step-{state.step:09d}"
    beside = folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        save_file(_contiguous(weights), beside / "model.safetensors")
        save_file(_contiguous(tensors), beside / "optimiser.safetensors")
        write_json(beside / "state.json", state.to_dict() | plain)
        for file in beside.iterdir():
            # safetensors gives its files to the owner alone, whatever the umask says.
            shutil.copymode(beside / "state.json", file)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        beside.replace(folder / name)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise unwritable(folder / name, error) from error
    for which in ("best", "last") if best else ("last",):
        write_json(folder / f"{which}.json", _Named(name).to_dict())
    remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the checkpoints that neither `last` nor `best` names."""
    counted = {_name(folder, "last"), _name(folder, "best")}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name not in counted:
            shutil.rmtree(path, ignore_errors=True)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _name(folder: Path, which: Which) -> str | None:
    path = folder / f"{which}.json"
    if not path.exists():
        return None
    name = _Named.from_dict(read_json(path, remedy=_REMEDY), str(path)).checkpoint
    if not re.fullmatch(r"step-\d{1,20}", name) or not (folder / name).is_dir():
        what = f"the name of a checkpoint's folder beside it in {path}"
        raise InputError(what, f"{name!r}, which is not there", _REMEDY)
    return name


def read_checkpoint(folder: Path, which: Which = "last") -> Checkpoint | None:
    """The checkpoint, or None if there is none yet."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = _name(folder, which)
    if name is None:
        return None
    folder = folder / name
    path = folder / "state.json"
    stored = _StateFile.from_dict(read_json(path, remedy=_REMEDY), str(path))
    state = RunState(**{field.name: getattr(stored, field.name) for field in fields(RunState)})
    try:
        for part in (folder / "model.safetensors", folder / "optimiser.safetensors"):
            if not part.is_file():  # a pipe would be waited for
                raise InputError(f"a whole checkpoint in {part}", "no file", _REMEDY)
        model = load_file(part := folder / "model.safetensors")
        tensors = load_file(part := folder / "optimiser.safetensors")
    except (OSError, SafetensorError) as error:
        raise InputError(f"a whole checkpoint in {part}", str(error), _REMEDY) from error
    return Checkpoint(folder, state, model, stored.optimiser.groups, tensors)


def load_trained(folder: Path, problem: Problem, which: Which = "best") -> str:
    """Put a run's weights, "last" where there is no best, into the problem's model; says which."""
    kinds: tuple[Which, Which] = (which, "last")
    for kind in kinds:
        if (saved := read_checkpoint(folder / "checkpoints", kind)) is not None:
            saved.load_model(problem.model)
            return f"{kind}, step {saved.state.step}"
    raise InputError(
        f"a checkpoint in {folder}", "none", "train first, or give the run that was trained"
    )
