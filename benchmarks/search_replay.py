"""Searches of a grid that has been run: how many runs until the best setting is known, by replay.

    OMP_NUM_THREADS=1 python benchmarks/search_replay.py docs/study/digits.json \
        docs/study/solar-cells.json docs/study/fashion-mnist.json -o docs/study/search-replay.json

The grids are those of benchmarks/theory_in_practice.py: alpha x temperature x instances of a class
in a batch, 3 seeds each. A search runs one seed of a setting at a time, which a replay draws. It
takes the setting with the best objective on validation rows, of those that it has run; its regret
is how far that setting's mean over seeds on test rows is below the best of all of them. Printed are
the runs until the mean regret of the replays is 1 point at most, with the 95 % interval of
resampled replays, for

- random: without replacement,
- TPE, GP: Optuna's samplers, the dials as integers in logarithmic order; a setting that they
  propose again is answered from what is known, and is no run; both draw their first ten runs at
  random by default, "GP, 3" the first three,
- dials: the pilot's search (`uncollapse.pilot.propose`) by alpha, temperature and batch, one run
  at a time,
- skip: the same without what is predicted to collapse,
- theory: and by the predicted variance between instances in alpha's place; "theory, two" runs the
  first alone, as the pilot does, and then two at a time.

All but random begin with the start, which is their first run: that of the published study, or
(`any`) another setting of the grid in each replay. Rows of OUTPUT that are not replayed now
(`--only`, `--layers`) stay.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from searches import of

from uncollapse.pilot import Seen, dial_features, propose

optuna.logging.set_verbosity(optuna.logging.ERROR)

# The pilot's search is followed for so many runs, the others for longer. Optuna's Gaussian process
# proposes known settings when few are left, and is fitted each time: its last runs cost most.
RUNS, WITHIN, LEVEL = 9, 0.01, 0.95
LONGER = {"random": 18, "TPE": 18, "GP": 14, "GP, 3": 9}
RESAMPLED = 2000
START = (0.0079, 0.1, 64)
# A sampler that proposes what is known so often is given a setting at random.
AGAIN = 30
# Less predicted variance between instances than this is collapse.
COLLAPSED = 1e-6

Numbers = NDArray[np.float64]
Key = tuple[float, float, int]


@dataclass(frozen=True)
class Grid:
    """Settings that have been run: (N, seeds) objectives on validation rows, (N,) test means."""

    keys: tuple[Key, ...]
    predicted: Numbers
    validation: Numbers
    worth: Numbers
    start: int | None  # None for another one in each replay

    def features(self, theory: bool) -> Numbers:
        """(N, 3) of the pilot's own features."""
        alpha, temperature, count = np.array(self.keys).T
        variance = self.predicted if theory else None
        return dial_features(alpha, temperature, count, variance=variance)


Ask = Callable[[int], float]
Search = Callable[[Grid, int, Ask, np.random.Generator], Iterator[int]]


def read(path: Path, layer: str, start: Key | None) -> Grid:
    """A study's runs at one layer."""
    groups = defaultdict(list)
    for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
        groups[run["alpha"], run["temperature"], run["per_class"]].append(run)
    keys = tuple(sorted(groups))
    first = [[run["validation"][layer]["objective"] for run in groups[key]] for key in keys]
    return Grid(
        keys,
        np.array([groups[key][0]["predicted"]["instance_variance"] for key in keys]),
        np.array(first),
        np.array([of(groups[key], "test", layer, "objective") for key in keys]),
        None if start is None else keys.index(start),
    )


def random_search(grid: Grid, start: int, ask: Ask, rng: np.random.Generator) -> Iterator[int]:
    """Without replacement."""
    for place in rng.permutation(len(grid.keys)):
        yield int(place)


def by_process(*, feature: bool, skip: bool, batch: int = 1) -> Search:
    """The pilot's search, so many at a time; what the same runs lead to is worked out once."""
    known: dict[tuple[object, ...], list[int]] = {}

    def search(grid: Grid, start: int, ask: Ask, rng: np.random.Generator) -> Iterator[int]:
        rows, places, seen = grid.features(feature), [start], list[Seen]()
        taken = np.flatnonzero(grid.predicted < COLLAPSED).tolist() if skip else []
        while places:
            yield from places
            seen += [Seen(place, ask(place)) for place in places]
            key = (id(grid), *seen)
            if key not in known:
                # Of one run nothing is known but where it is: the first proposal goes alone.
                count = 1 if len(seen) == 1 else batch
                known[key] = propose(rows, seen, count, taken=taken)
            places = known[key]

    return search


def by_optuna(sampler: Callable[[int], optuna.samplers.BaseSampler]) -> Search:
    """A sampler of Optuna's, on the levels of the grid."""

    def search(grid: Grid, start: int, ask: Ask, rng: np.random.Generator) -> Iterator[int]:
        levels = [sorted(set(values)) for values in zip(*grid.keys, strict=True)]
        at = [[one.index(v) for one, v in zip(levels, key, strict=True)] for key in grid.keys]
        place_of = {tuple(where): place for place, where in enumerate(at)}
        names = ("alpha", "temperature", "count")
        study = optuna.create_study(
            direction="maximize", sampler=sampler(int(rng.integers(1 << 30)))
        )
        study.enqueue_trial(dict(zip(names, at[start], strict=True)))
        seen: set[int] = set()
        again = 0
        while len(seen) < len(grid.keys):
            trial = study.ask()
            where = tuple(
                trial.suggest_int(name, 0, len(one) - 1)
                for name, one in zip(names, levels, strict=True)
            )
            place = place_of[where]
            if place in seen and (again := again + 1) > AGAIN:
                left = [number for number in range(len(grid.keys)) if number not in seen]
                study.tell(trial, ask(place))
                study.enqueue_trial(dict(zip(names, at[int(rng.choice(left))], strict=True)))
                continue
            if place not in seen:
                again = 0
                yield place
            study.tell(trial, ask(place))
            seen.add(place)

    return search


def regrets(grid: Grid, search: Search, replays: int, runs: int) -> Numbers:
    """(replays, runs) of the setting that leads after each run."""
    found = []
    for replay in range(replays):
        rng = np.random.default_rng(replay)
        seeds = rng.integers(grid.validation.shape[1], size=len(grid.keys))
        drawn = grid.validation[np.arange(len(grid.keys)), seeds]
        start = int(rng.integers(len(grid.keys))) if grid.start is None else grid.start
        ask = partial(_drawn, drawn)
        order = list(islice(search(grid, start, ask, rng), runs))
        leaders = [max(order[: r + 1], key=drawn.__getitem__) for r in range(len(order))]
        found.append(grid.worth.max() - grid.worth[leaders])
    return np.array(found)


def _drawn(values: Numbers, place: int) -> float:
    return float(values[place])


def until(regret: Numbers) -> int | None:
    """Runs until the mean regret is within a point; None for never."""
    within = regret.mean(axis=0) <= WITHIN
    return int(np.argmax(within)) + 1 if within.any() else None


def resampled(regret: Numbers) -> list[int | None]:
    """The interval of `until` over resampled replays; None for more runs than there are."""
    rng, count = np.random.default_rng(0), len(regret)
    found = [until(regret[rng.integers(count, size=count)]) for _ in range(RESAMPLED)]
    ends = np.quantile(
        [one or regret.shape[1] + 1 for one in found],
        [(1 - LEVEL) / 2, (1 + LEVEL) / 2],
        method="nearest",
    )
    return [None if end > regret.shape[1] else int(end) for end in ends.tolist()]


def compared(first: Numbers, second: Numbers) -> list[float]:
    """Mean regret over all runs, second minus first, with its interval, in points."""
    gap = 100 * (second - first).mean(axis=1)
    rng, count = np.random.default_rng(0), len(gap)
    means = gap[rng.integers(count, size=(RESAMPLED, count))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [round(float(value), 3) for value in (gap.mean(), low, high)]


def gaussian_process(first: int) -> Search:
    """Optuna's, after so many runs at random."""
    sampler = partial(optuna.samplers.GPSampler, n_startup_trials=first)
    return by_optuna(lambda seed: sampler(seed=seed))


def searches() -> dict[str, Search]:
    """By name."""
    return {
        "random": random_search,
        "TPE": by_optuna(lambda seed: optuna.samplers.TPESampler(seed=seed)),
        "GP": gaussian_process(10),
        "GP, 3": gaussian_process(3),
        "dials": by_process(feature=False, skip=False),
        "skip": by_process(feature=False, skip=True),
        "theory": by_process(feature=True, skip=True),
        "theory, two": by_process(feature=True, skip=True, batch=2),
    }


def kept(path: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a file that are not among the new ones, and these."""

    def which(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["data"], row["layer"], tuple(row["start"]), row["search"]

    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    new = {which(row) for row in rows}
    return [*(row for row in old if which(row) not in new), *rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay every search on every study, layer and start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--only", nargs="+", help="names of searches")
    parser.add_argument("--layers", nargs="+", default=["projector", "backbone"])
    options = parser.parse_args(arguments)
    rows = list[dict[str, Any]]()
    for layer in options.layers:
        for start in (START, None):
            for path in options.studies:
                grid = read(path, layer, start)
                at = {"data": path.stem, "layer": layer, "start": list(start or ["any"])}
                found = {}
                for name, search in searches().items():
                    if options.only and name not in options.only:
                        continue
                    runs = LONGER.get(name, RUNS)
                    regret = found[name] = regrets(grid, search, options.replays, runs)
                    row = at | {
                        "search": name,
                        "replays": options.replays,
                        "runs": until(regret),
                        "interval": resampled(regret),
                        "regret": [round(100 * float(value), 2) for value in regret.mean(axis=0)],
                    }
                    rows.append(row)
                    print(*row.values(), flush=True)
                dials = found.get("dials")
                for name in sorted({"skip", "theory", "theory, two"} & found.keys()):
                    if dials is None:
                        continue
                    gap = compared(found[name], dials)
                    rows.append(at | {"search": f"dials - {name}", "points": gap})
                    print(*rows[-1].values(), flush=True)
                written = json.dumps(kept(options.output, rows), indent=1)
                options.output.write_text(written + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
