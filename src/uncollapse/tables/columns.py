"""Which column holds what: as the caller says, or by its usual names."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uncollapse.errors import InputError, did_you_mean
from uncollapse.samples import ByRole, encode, label_codes, refuse_lookalikes
from uncollapse.tables._shard import Array, Column, Shard

# As whole numbers are written, those of a column with gaps too: -1.0.
_NEGATIVE = re.compile(r"\s*(-[1-9][0-9]{0,30})(?:\.0*)?\s*")
USUAL_EMBEDDINGS = ("embedding", "embeddings", "emb", "features", "feature", "vector", "z", "x")
_USUAL_LABELS = ("label", "labels", "y", "target", "targets", "class")


@dataclass(frozen=True)
class Columns:
    """Names of the columns (of the arrays, in npz and safetensors files).

    Vectors are a column of lists; or several columns of numbers, by a pattern or separated by
    commas. Where they are not named: by their usual names, else the only column of lists, else the
    only family of number columns such as e0, e1, e2. Labels: by their usual names.

    Attributes:
        embedding: Column of vectors, or a pattern of number columns such as "e*".
        label: Column of class labels.
        instance: Column of instance ids, when rows are views of instances.
        group: Column of what was drawn independently (patient, part).
        fine: Column of finer labels, for the within-class probe.
        slices: Column over whose values to compare; may be repeated.
        text: Column of labels, ids or slices that is read as text, whatever its type: -1 and 007
            are names in it; may be repeated.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse import measure_files
        >>> columns = Columns(embedding="z", label="kind", slices=("site",))
        >>> kinds, sites = np.repeat([0, 1, 2], 50), np.arange(150) % 2
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", z=np.eye(3, 16)[kinds], kind=kinds, site=sites)
        ...     list(measure_files([f"{folder}/rows.npz"], columns=columns).slices)
        ['site']
    """

    embedding: str | None = None
    label: str | None = None
    instance: str | None = None
    group: str | None = None
    fine: str | None = None
    slices: tuple[str, ...] = ()
    text: tuple[str, ...] = ()

    def by_role(self, embedding: str, label: str) -> dict[str, str]:
        """The names of those that are read, the embedding's and the label's as they were found."""
        named = {
            "embedding": embedding,
            "label": label,
            "instance": self.instance,
            "group": self.group,
            "fine": self.fine,
            "slice": ", ".join(self.slices),
        }
        return {role: column for role, column in named.items() if column}


def _missing(
    path: Path, what: str, columns: Sequence[Column | str], option: str = "", asked: str = ""
) -> InputError:
    """The error for a column that is not there or not known, with the option that names it."""
    names = [getattr(column, "name", str(column)) for column in columns]
    more = ", ..." if len(names) > 20 else ""
    otherwise = f"name one with {option}" if option else "name one that is there"
    remedy = did_you_mean(asked, names, otherwise, option and f"{option} ")
    found = f"columns {', '.join(names[:20])}{more}" if names else "no column"
    return InputError(f"{what} in {path}", found, remedy)


def _only(shard: Shard, chosen: Sequence[str]) -> list[str]:
    """The chosen columns, each of which must be the only one of its name."""
    counts = Counter(column.name for column in shard.columns)
    for name in chosen:
        if counts[name] > 1:
            raise InputError(
                f"one column {name!r} in {shard.path}",
                f"{counts[name]} of that name",
                "give every column a name of its own",
            )
    return list(chosen)


def embedding_columns(
    shard: Shard, embedding: str | None = None, option: str = "--embedding"
) -> list[str]:
    """The column of vectors, or the columns of single dimensions, in order.

    A pattern takes columns that share a name but for a whole number, in the order of these numbers.

    Raises:
        InputError: No such column, text, others among those of a pattern, or a number left out.
    """
    columns = shard.columns
    if embedding is None:
        return _only(shard, _usual_embedding(shard, option))
    names = [column.name for column in columns]
    if embedding in names:
        return _only(shard, [_not_text(shard, embedding, option)])
    chosen = []
    for asked in (part.strip() for part in embedding.split(",")):
        pattern = any(sign in asked for sign in "*?[") and asked not in names
        taken = _family(shard, asked) if pattern else [asked] * (asked in names)
        if not taken:
            raise _missing(shard.path, f"an embedding column {asked!r}", columns, option, asked)
        chosen += taken
    return _dimensions(shard, _only(shard, chosen), option)


def _dimensions(shard: Shard, chosen: list[str], option: str) -> list[str]:
    """Several columns, each of which is a dimension of its own."""
    counts = Counter(chosen)
    vectors = [c.name for c in shard.columns if c.kind == "matrix" and c.name in counts]
    twice = [name for name, count in counts.items() if count > 1]
    if len(chosen) > 1 and (vectors or twice):
        raise InputError(
            f"single dimensions, each once, where several columns of {shard.path} are named",
            f"the vectors {vectors[0]!r}" if vectors else f"{twice[0]!r} twice",
            f"name one column of vectors, or each column of numbers once ({option})",
        )
    return chosen


def _not_text(shard: Shard, name: str, option: str) -> str:
    """The column, unless it is text as a whole in a file whose columns have types."""
    column = next(column for column in shard.columns if column.name == name)
    if column.kind == "name" and column.type.endswith("string") and not shard.untyped:
        raise InputError(
            f"numbers in column {name!r} of {shard.path}",
            f"text (type {column.type})",
            f"save it as a list of numbers in each row, or name another column with {option}",
        )
    return name


def _family(shard: Shard, pattern: str) -> list[str]:
    """The columns that a pattern takes, which must be numbered without a gap."""
    taken = [c.name for c in shard.columns if fnmatch.fnmatchcase(c.name, pattern)]
    before = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    numbers = {name: re.fullmatch(r"(\d+)", name.removeprefix(before)) for name in taken}
    if odd := [name for name, number in numbers.items() if number is None]:
        raise InputError(
            f"columns {before!r} and a whole number, as the pattern {pattern!r} asks, in "
            f"{shard.path}",
            f"{', '.join(map(repr, odd[:5]))} among the {len(taken)} that it takes",
            "give a longer prefix, or name the columns with commas between them",
        )
    return _without_gap(shard, before, taken)


def _without_gap(shard: Shard, before: str, taken: Sequence[str]) -> list[str]:
    """Columns of this name and a whole number, in order, none left out and none twice."""
    order = sorted(_only(shard, taken), key=lambda name: int(name.removeprefix(before)))
    present = [int(name.removeprefix(before)) for name in order]
    for lower, upper in itertools.pairwise(present):
        if upper != lower + 1:
            found = f"no {before}{lower + 1}" if upper > lower else f"{lower} twice"
            raise InputError(
                f"columns {before}{present[0]} to {before}{present[-1]} without a gap in "
                f"{shard.path}",
                found,
                "complete them, or name those there are with commas between them",
            )
    return order


def _usual_embedding(shard: Shard, option: str) -> list[str]:
    vectors = [column.name for column in shard.columns if column.kind == "matrix"]
    usual = [name for name in USUAL_EMBEDDINGS if name in vectors]
    before, numbered = _numbered(shard.columns)
    chosen = usual[:1] or vectors or _without_gap(shard, before, numbered)
    if not chosen or (not usual and len(vectors) > 1):
        for column in shard.columns:
            if not chosen and column.name in USUAL_EMBEDDINGS:
                _not_text(shard, column.name, option)
        typed = [f"{c.name} ({c.type})" if c.type else c.name for c in shard.columns]
        raise _missing(shard.path, f"one embedding column ({option})", typed, option)
    return chosen


def _numbered(columns: list[Column]) -> tuple[str, list[str]]:
    """The only name that columns share but for a final number, and these columns."""
    # One bad entry makes a column of a CSV file text: it is given too, for the reader to refuse.
    families: dict[str, list[Column]] = {}
    for column in columns:
        match = re.fullmatch(r"(.*?)\d+", column.name)
        if match is not None:
            families.setdefault(match[1], []).append(column)
    several = [
        (shared, [column.name for column in family])
        for shared, family in families.items()
        if sum(column.kind == "number" for column in family) > 1
    ]
    return several[0] if len(several) == 1 else ("", [])


def number_columns(shard: Shard) -> list[str]:
    """The columns of numbers, and those of text that share a name with them but for a number."""
    _, family = _numbered(shard.columns)
    return [c.name for c in shard.columns if c.kind == "number" or c.name in family]


def named_column(shard: Shard, name: str, what: str = "a column", option: str = "") -> str:
    """A column that must be there; the only array of an npy file has any name."""
    names = [column.name for column in shard.columns]
    if name in names:
        return _only(shard, [name])[0]
    if len(names) == 1 and shard.path.suffix == ".npy":
        return names[0]
    raise _missing(shard.path, f"{what} {name!r}", shard.columns, option, name)


def label_column(shard: Shard, embedding: str | None) -> str:
    """The column of labels by its usual names, else the only one that can be it."""
    names = [column.name for column in shard.columns]
    for usual in _USUAL_LABELS:
        if usual in names:
            return _only(shard, [usual])[0]
    single = [c.name for c in shard.columns if c.kind != "matrix" and c.name != embedding]
    if len(single) == 1:
        return single[0]
    raise _missing(shard.path, "a label column (--label)", shard.columns, "--label")


def roles_of(shard: Shard, columns: Columns, vectors: Sequence[str]) -> ByRole[str]:
    """Column of each role besides the embedding, which lies in these columns or (none) elsewhere.

    Raises:
        InputError: A column that is not there, more than once, or of the embedding.
    """
    if vectors and shard.path.suffix == ".npy":
        raise InputError(
            f"labels beside the embeddings in {shard.path}",
            "a single array",
            "give the file with the labels (--labels-from)",
        )

    def named(name: str | None, option: str) -> str | None:
        return None if name is None else named_column(shard, name, option=option)

    roles = ByRole(
        labels=named(columns.label, "--label")
        or label_column(shard, vectors[0] if vectors else None),
        instances=named(columns.instance, "--instance"),
        groups=named(columns.group, "--group"),
        fine_labels=named(columns.fine, "--fine"),
        slices={name: named_column(shard, name, option="--slice") for name in columns.slices},
    )
    known = set(roles.all().values())
    if len(vectors) > 1 and (both := known & {*vectors}):
        raise InputError(
            f"embedding columns without another role in {shard.path}",
            f"{min(both)!r} among {vectors[0]}..{vectors[-1]}",
            "name the embedding columns with commas between them, or the role's own column",
        )
    if unused := [name for name in columns.text if named(name, "--text") not in known]:
        raise InputError(
            f"text columns among those that are read of {shard.path} ({', '.join(sorted(known))})",
            unused[0],
            "leave it out, or give it a role (--label, --slice, ...)",
        )
    return roles


def plain_names(column: Array, where: str, *, label: bool, declared: bool, untyped: bool) -> Array:
    """A column as an object array of names, None where one is missing or (a label) is -1.

    Raises:
        InputError: A label below -1, or a number and text that are written alike.
    """
    column = named_text(column, declared, untyped and label)
    codes = (label_codes if label else encode)(column, where, len(column))
    refuse_lookalikes(codes.names, where)
    return np.asarray(np.array([*codes.names, None], dtype=object)[np.maximum(codes.codes, -1)])


def named_text(column: Array, declared: bool, untyped: bool = False) -> Array:
    """A column of names: as text where that is declared; else as it is.

    Whole numbers below 0 are numbers then, in files without types too: the label -1 of a CSV file
    marks rows without one.
    """
    if declared:
        texts = [None if value is None else str(value) for value in column.tolist()]
        return np.array([*texts, None], dtype=object)[:-1]
    if not untyped:
        return column
    values = column.tolist()
    written = [value and _NEGATIVE.fullmatch(value) for value in values]
    if numbers := {row: int(match[1]) for row, match in enumerate(written) if match}:
        column = column.copy()
        column[list(numbers)] = list(numbers.values())
    return column
