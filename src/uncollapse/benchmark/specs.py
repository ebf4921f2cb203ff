"""Data sets and methods of the benchmark: one YAML file each, here or the user's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from uncollapse.data import Strict
from uncollapse.errors import InputError, fault_in_words, fault_remedy, nearest
from uncollapse.records import Damage, DamageKind, parse_yaml, read_yaml
from uncollapse.training import TrainConfig, parse_config

Argument = float | str | bool
Values = Annotated[tuple[Argument, ...], Field(strict=False)]
PUBLISHED = "published"  # SupCon's own alpha, which batches of as many rows of each class have.
_YAML = (".yaml", ".yml")
_NAME = re.compile(r"[\w][\w.-]{0,60}")


class DamageSpec(Strict):
    """A damage, as `uncollapse stress` knows them: its kind, dose and form."""

    kind: DamageKind
    dose: str
    form: str = ""

    def damage(self) -> Damage:
        """The damage."""
        return Damage(self.kind, self.dose, self.form)


# Of the training itself: what optimiser, initialisation and capacity do, as a share of alpha.
_DIALS: tuple[tuple[DamageKind, str], ...] = (
    ("optimiser", "adamw:0.001"),
    ("initialisation", "0.3"),
    ("initialisation", "3"),
    ("width", "0.5"),
    ("width", "2"),
    ("depth", "3"),
)


class DoubtSpec(Strict):
    """Labels that people doubt, drawn by the share of them who would have given each.

    Attributes:
        column: Finer label or slice by which the share is known.
        chance: Its value -> share that gives `label`; rows of other values keep theirs.
        label: A class.
        otherwise: The class that the others give.
    """

    column: str
    chance: dict[str, float]
    label: str
    otherwise: str


class DataSetSpec(Strict):
    """A data set of the benchmark.

    Attributes:
        title: For tables.
        about: What it is, and where it comes from.
        licence: Of what it is made of, where its loader does not know.
        needs: How what it is read from is come by.
        damages: What is done to it, beside leaving it clean.
        doubt: Where given, the damage label-noise-doubt-annotators.
        dials: Of the training itself, tried with one method.
        training: A configuration of `uncollapse train` without `loss`.
    """

    title: str
    about: str = ""
    licence: str = ""
    needs: str = ""
    damages: tuple[DamageSpec, ...] = Field(default=(), strict=False)
    doubt: DoubtSpec | None = None
    dials: tuple[DamageSpec, ...] = Field(
        default=tuple(DamageSpec(kind=kind, dose=dose) for kind, dose in _DIALS), strict=False
    )
    training: dict[str, Any]

    @model_validator(mode="after")
    def _no_loss(self) -> DataSetSpec:
        if "loss" in self.training:
            raise ValueError("loss is the method's: leave it out of training")
        return self


class MethodSpec(Strict):
    """A method of the benchmark.

    Attributes:
        title: For tables.
        source: Where it was published.
        loss: "base" (nothing is trained), "supcl", "cross-entropy", another loss of
            `uncollapse.losses` by the name of its function without `_loss`, or the name of one of
            one's own.
        arguments: Of the loss.
        choices: Argument -> values, of which the best on clean validation rows is taken, once per
            data set.
        theory: Alpha that theory is asked about; "published" for SupCon's own,
            (p - 1)/(p n_b - 1), of balanced batches; None where theory says nothing of the loss. Of
            supcl it is known.
        changes: Keys of the training configuration that the method has otherwise, as
            optimiser.learning_rate.
    """

    title: str
    source: str = ""
    loss: str
    arguments: dict[str, Argument] = Field(default={})
    choices: dict[str, Values] = Field(default={})
    theory: float | str | None = None
    changes: dict[str, Any] = Field(default={})


Spec = TypeVar("Spec", DataSetSpec, MethodSpec)
_KINDS: dict[type[Any], str] = {DataSetSpec: "data_sets", MethodSpec: "methods"}


def built_in(kind: type[Spec]) -> dict[str, Spec]:
    """Those of the benchmark itself, by name, in their order."""
    return {name: _read(kind, text, name) for name, text in sorted(_texts(kind), key=_order)}


def _texts(kind: type[Any]) -> Iterator[tuple[str, str]]:
    for file in (files("uncollapse.benchmark") / _KINDS[kind]).iterdir():
        if file.name.endswith(_YAML):
            yield file.name.rpartition(".")[0], file.read_text("utf-8")


# As tables have them: what needs nothing first, then by what is trained.
ORDER = (
    "digits", "garments", "mnist1d", "satellite", "segments", "solar-cells", "glosses",
    "base", "cross-entropy", "supcon", "sincere", "l-spread", "simclr", "supcl",
)  # fmt: skip


def _order(entry: tuple[str, str]) -> tuple[int, str]:
    name = entry[0]
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def found(kind: type[Spec], names: tuple[str, ...]) -> dict[str, tuple[Spec, Path | None]]:
    """Specifications by name or file, each with the folder of its file; without names all.

    Raises:
        InputError: A name that is not known, a file that cannot be read or does not fit.
    """
    known: dict[str, Spec] = built_in(kind)
    chosen: dict[str, tuple[Spec, Path | None]] = {}
    for name in names or tuple(known):
        if name in known:
            chosen[name] = known[name], None
            continue
        if not name.endswith(_YAML):
            near = nearest(name, known)
            what = _KINDS[kind].replace("_", " ").removesuffix("s")
            remedy = f"did you mean {near}?" if near else f"name one of {', '.join(known)}"
            raise InputError(f"a {what} of the benchmark, or its .yaml file", repr(name), remedy)
        path = Path(name)
        if not _NAME.fullmatch(path.stem) or path.stem in {*known, *chosen}:
            raise InputError(
                "a file with a name of its own, of letters, digits, dots and hyphens",
                repr(path.name),
                "rename the file",
            )
        block = read_yaml(path, "a YAML file", "check the path")
        chosen[path.stem] = _checked(kind, block, str(path)), path.resolve().parent
    return chosen


def _read(kind: type[Spec], text: str, name: str) -> Spec:
    return _checked(kind, parse_yaml(text), name)


def _checked(kind: type[Spec], block: Any, source: str) -> Spec:
    if not isinstance(block, Mapping):
        raise InputError(f"keys and values in {source}", type(block).__name__, "see its docs")
    try:
        return kind.model_validate(dict(block))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        remedy = fault_remedy(
            first, list(kind.model_fields), "see docs/robustness.md for every key"
        )
        what = f"a valid specification in {source}"
        raise InputError(what, fault_in_words(first, place), remedy) from error


def configuration(
    data_set: DataSetSpec, method: MethodSpec, arguments: Mapping[str, Argument], seed: int
) -> TrainConfig:
    """The training configuration of a method with these arguments on a data set."""
    block = {**data_set.training, "seed": seed, "device": "cpu"}
    for key, value in method.changes.items():
        part, _, name = key.rpartition(".")
        block[part or name] = {**block.get(part, {}), name: value} if part else value
    block["loss"] = {"temperature": 0.1, "alpha": 0.5} | _known(method, arguments, block)
    return parse_config(block, source=f"the training of {data_set.title}")


def _known(
    method: MethodSpec, arguments: Mapping[str, Argument], block: Mapping[str, Any]
) -> dict[str, Any]:
    """What the configuration's own loss is: the method's, or what theory is asked about."""
    if method.loss == "supcl":
        return dict(arguments)
    known = {"temperature": arguments["temperature"]} if "temperature" in arguments else {}
    if isinstance(method.theory, float | int):
        known["alpha"] = float(method.theory)
    elif method.theory == PUBLISHED and _per_class(block):
        views = block.get("views", {}).get("count", 2)
        known["alpha"] = (views - 1) / (views * _per_class(block) - 1)
    return known


def _per_class(block: Mapping[str, Any]) -> int:
    """Rows of each class in a batch; 0 where that is chance."""
    return int(block.get("batch", {}).get("per_class") or 0)


def known_to_theory(data_set: DataSetSpec, method: MethodSpec) -> bool:
    """Whether theory speaks of a method on a data set."""
    if method.theory == PUBLISHED:
        return _per_class(data_set.training) > 0
    return method.loss == "supcl" or method.theory is not None
