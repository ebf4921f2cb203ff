"""The benchmark as Markdown, to be read in a terminal and on a page: a leaderboard and cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from uncollapse.benchmark.ranks import (
    DIALS,
    RANKED,
    Scores,
    predicted_of,
    scores_of,
    tabled,
    with_base,
)
from uncollapse.benchmark.scores import LAYERS
from uncollapse.benchmark.specs import DataSetSpec, MethodSpec, built_in
from uncollapse.records import BenchmarkResult, MethodRank
from uncollapse.statistics import mean_interval

TITLES = {
    "finer": "finer label",
    "training_label": "training label",
    "worst_class": "worst class",
    "worst_slice": "worst slice",
    "retention": "retention",
    "instance_variance": "W",
}
_SHARES = ("finer", "training_label", "worst_class", "worst_slice")


def markdown(result: BenchmarkResult, details: Sequence[str] = ()) -> str:
    """A leaderboard; with names of numbers (`TITLES`) also a table of each.

    Raises:
        InputError: No data set on which every method was run.
    """
    table = tabled(result)
    parts = [f"## {TITLES[name]}\n\n{_leaderboard(table.ranks[name])}" for name in RANKED]
    parts.append(f"## embeddings, clean\n\n{embeddings(result)}")
    parts.append(f"## finer label, change by damage, points\n\n{changes(result, 'finer')}")
    parts.append(f"## W, change by damage\n\n{changes(result, 'instance_variance')}")
    phase = "\n".join(_phases(result))
    parts.append(f"## spread or collapse, as theory predicts\n\n{phase}")
    parts += [f"## {TITLES[name]}, every cell\n\n{cells(result, name)}" for name in details]
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_line(head), "|---" * len(head) + "|", *map(_line, rows)])


def _leaderboard(ranks: Sequence[MethodRank]) -> str:
    titles = {one.method: one.title for one in ranks}
    rows = []
    for place, one in enumerate(ranks, start=1):
        alike = "all others" if len(one.alike) == len(ranks) - 1 else ""
        alike = alike or ", ".join(titles[name] for name in one.alike) or "none"
        low, high = one.rank.low, one.rank.high
        interval = "" if low is None or high is None else f" [{low:.1f}, {high:.1f}]"
        score = f"{100 * one.score:.1f}"
        rows.append([f"{place}", one.title, f"{one.rank.estimate:.1f}{interval}", score, alike])
    return _lines(["", "method", "mean rank", "mean, per cent", "not distinguished from"], rows)


def _columns(scores: Scores) -> list[str]:
    present = {name for cell in scores.values() for name in cell}
    known = [name for name in built_in(MethodSpec) if name in present]
    return [*known, *sorted(present - {*known})]


def _title(name: str) -> str:
    spec = built_in(MethodSpec).get(name)
    return name if spec is None else spec.title


def cells(result: BenchmarkResult, name: str) -> str:
    """A number of every data set, damage and method at the deployed embedding: mean over seeds.

    With the half width of Student's interval where there are two seeds or more; W also with what
    theory predicts, in brackets, where it speaks of a method.
    """
    scores = with_base(scores_of(result, name))
    said = predicted_of(result) if name == "instance_variance" else {}
    methods, titles = _columns(scores), built_in(DataSetSpec)
    rows = []
    for (data_set, damage), values in scores.items():
        if damage.startswith(DIALS):
            continue
        known = titles.get(data_set)
        start = [data_set if known is None else known.title, damage]
        for method in methods:
            wanted = said.get((data_set, damage, method))
            beside = "" if wanted is None else f" ({fmean(wanted):.2f})"
            start.append(_mean(values.get(method, ()), name) + beside)
        rows.append(start)
    return _lines(["data", "damage", *map(_title, methods)], rows)


def _mean(values: Sequence[float], name: str) -> str:
    if not values:
        return ""
    scale, digits = (100, 1) if name in _SHARES else (1, 2)
    found = mean_interval([scale * value for value in values])
    half = "" if found.half_width is None else f" ± {found.half_width:.{digits}f}"
    return f"{found.estimate:.{digits}f}{half}"


def changes(result: BenchmarkResult, name: str) -> str:
    """What each damage does to a number: change from clean, mean over the data sets that have both.

    Shifts are left out, as their test rows are others. Deployed embedding; Student's interval with
    data sets as its units, where there are two or more.
    """
    scores = scores_of(result, name)
    methods = [method for method in _columns(scores) if method != "base"]
    rows = []
    for damage in dict.fromkeys(damage for _, damage in scores):
        row = [damage]
        for method in methods:
            found = [
                fmean(values[method]) - fmean(scores[data_set, "clean"][method])
                for (data_set, own), values in scores.items()
                if own == damage and method in values and method in scores[data_set, "clean"]
            ]
            row.append(_signed(found, name))
        if damage != "clean" and not damage.startswith((*DIALS, "shift")):
            rows.append(row)
    return _lines(["damage", *map(_title, methods)], rows)


def _signed(values: Sequence[float], name: str) -> str:
    if not values:
        return ""
    scale, digits = (100, 1) if name in _SHARES else (1, 2)
    found = mean_interval([scale * value for value in values])
    half = "" if found.half_width is None else f" ± {found.half_width:.{digits}f}"
    return f"{found.estimate:+.{digits}f}{half}"


def embeddings(result: BenchmarkResult) -> str:
    """Finer label / training label of every embedding of every method on clean data.

    Means over data sets and seeds, in per cent; the untouched base stands under the projector.
    """
    kinds = [layer + kind for layer in LAYERS for kind in ("", "-whitened")]
    rows = []
    for method in _columns(scores_of(result, "finer")):
        row = [_title(method)]
        for kind in kinds:
            own = kind.replace("projector", "inputs") if method == "base" else kind
            pair = [_clean(result, name, method, own) for name in ("finer", "training_label")]
            row.append(" / ".join(f"{100 * value:.1f}" for value in pair if value is not None))
        rows.append(row)
    return _lines(["method", *(kind.replace("-", ", ") for kind in kinds)], rows)


def _clean(result: BenchmarkResult, name: str, method: str, embedding: str) -> float | None:
    by = scores_of(result, name, (embedding,))
    means = [
        fmean(values[method])
        for (_, damage), values in by.items()
        if damage == "clean" and method in values
    ]
    return fmean(means) if means else None


def _phases(result: BenchmarkResult) -> Iterator[str]:
    table = tabled(result)
    rows = []
    for one in table.phases:
        share = f"{one.agreed} of {one.compared}"
        rows.append([one.data_set, share, "; ".join(one.misses) or "none"])
    yield _lines(["data", "as predicted", "misses: W measured for predicted"], rows)


def dial_shares(result: BenchmarkResult) -> dict[str, dict[str, float]]:
    """By dial and data set, its change of W of SupCL over what alpha does, from SupCon to alpha 1.

    share = (W(dial) - W(clean)) / (W(SimCLR) - W(SupCon)),   means over seeds, projector
    """
    by = scores_of(result, "instance_variance", ("projector",))
    clean: dict[str, Mapping[str, list[float]]] = {d: v for (d, k), v in by.items() if k == "clean"}
    found: dict[str, dict[str, float]] = {}
    for (data_set, damage), values in by.items():
        known = clean.get(data_set, {})
        if damage.startswith(DIALS) and {"supcl", "supcon", "simclr"} <= {*known}:
            whole = fmean(known["simclr"]) - fmean(known["supcon"])
            change = fmean(values["supcl"]) - fmean(known["supcl"])
            found.setdefault(damage, {})[data_set] = change / whole
    return found
