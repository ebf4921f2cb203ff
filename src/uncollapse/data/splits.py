"""Stratified and grouped splits, and stratified subsets that lie in one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data.config import LimitConfig, SplitConfig
from uncollapse.data.permutation_stream import Integers
from uncollapse.errors import InputError
from uncollapse.tables import SPLITS

# Orders in which groups are tried: a greedy division may leave a class out of a part.
_TRIES = 10
# With more groups than this one order is as good as another.
_MANY_GROUPS = 1000


def strata(codes: Integers, fine: Sequence[NDArray[Any]]) -> Integers:
    """(N,) number of the combination of training label and finer labels, sorted by label first."""
    combined: Integers = codes - codes.min(initial=0)
    for column in fine:
        values = np.unique(column.astype(str), return_inverse=True)[1]
        combined = combined * (values.max(initial=0) + 1) + values
        combined = np.unique(combined, return_inverse=True)[1]
    return combined.astype(np.int64)


def _draw_rows(
    split: NDArray[Any],
    wanted: Mapping[str, float],
    codes: Integers,
    keys: Integers,
    names: Sequence[str],
    generator: np.random.Generator,
) -> None:
    """Moves a fraction of each class of the training rows to each wanted part, in place."""
    for code, name in enumerate(names):
        free = np.flatnonzero((codes == code) & (split == "train")).astype(np.int64)
        counts = {part: max(1, round(share * len(free))) for part, share in wanted.items()}
        if sum(counts.values()) >= len(free):
            raise InputError(
                f"at least {len(wanted) + 1} rows in each class, one for each part",
                f"{len(free)} in class {name!r}",
                "bring more, merge it into another class by `map`, or set a fraction of 0",
            )
        for part, count in counts.items():
            # Of a key with s of the n rows, count s / n rounded up or down.
            shuffled = generator.permutation(free)
            ordered = shuffled[np.argsort(keys[shuffled], kind="stable")]
            places = (np.arange(count) + generator.random()) * len(free) / count
            split[ordered[np.floor(places).astype(np.int64)]] = part
            free = free[split[free] == "train"]


def _assign_groups(
    table: Integers, shares: NDArray[np.float64], generator: np.random.Generator
) -> tuple[Integers, float]:
    """Part of each group of a (groups, strata) table of rows, and the relative squared error."""
    # The large ones first, each to where it brings most towards the shares.
    wanted = shares[:, None] * table.sum(axis=0)
    weight = 1 / np.maximum(wanted, 0.5)
    have = np.zeros_like(wanted)
    parts = np.zeros(len(table), np.int64)
    shuffled = generator.permutation(len(table))
    for group in shuffled[np.argsort(-table[shuffled].sum(axis=1), kind="stable")]:
        strata_here = np.flatnonzero(table[group])
        more = table[group, strata_here]
        lack = have[:, strata_here] - wanted[:, strata_here]
        # Growth of sum (have - wanted)^2 / wanted when the group joins a part.
        growth = (weight[:, strata_here] * more * (2 * lack + more)).sum(axis=1)
        parts[group] = int(np.argmin(growth))
        have[parts[group]] += table[group]
    return parts, float((weight * (have - wanted) ** 2).sum())


def _draw_groups(
    split: NDArray[Any],
    wanted: Mapping[str, float],
    codes: Integers,
    keys: Integers,
    names: Sequence[str],
    groups: NDArray[Any],
    generator: np.random.Generator,
) -> None:
    """The same with whole groups, in place."""
    free = np.flatnonzero(split == "train")
    group_names, group = np.unique(groups[free].astype(str), return_inverse=True)
    table = np.zeros((len(group_names), int(keys.max()) + 1), np.int64)
    np.add.at(table, (group, keys[free]), 1)
    classes = np.zeros((len(group_names), len(names)), bool)
    labelled = codes[free] >= 0
    classes[group[labelled], codes[free][labelled]] = True
    if (few := classes.sum(axis=0) <= len(wanted)).any():
        code = int(np.argmax(few))
        raise InputError(
            f"each class in at least {len(wanted) + 1} groups, one for each part",
            f"class {names[code]!r} in {classes[:, code].sum()}",
            "bring more groups, merge the class into another, or set a fraction of 0",
        )
    shares = np.array([1 - sum(wanted.values()), *wanted.values()])
    least, best = (len(shares) * len(names) + 1, math.inf), np.zeros(0, np.int64)
    for _ in range(_TRIES):
        parts, error = _assign_groups(table, shares, generator)
        reached = np.stack([classes[parts == part].any(axis=0) for part in range(len(shares))])
        absent = int((~reached).sum())
        if (absent, error) < least:
            least, best = (absent, error), parts
        if not least[0] and len(group_names) > _MANY_GROUPS:
            break
    if least[0]:
        raise InputError(
            "groups that can be divided with every class in every part",
            f"{len(group_names)} groups, of which each division that was tried leaves a class out",
            "bring more groups, or give the division in a column (split.column)",
        )
    split[free] = np.array(["train", *wanted])[best[group]]


def make_split(
    config: SplitConfig,
    given: NDArray[Any] | None,
    codes: Integers,
    names: Sequence[str],
    fine: Sequence[NDArray[Any]],
    groups: NDArray[Any] | None,
    seed: int,
) -> tuple[NDArray[Any], str]:
    """(N,) "train", "validation" or "test", and how it came about.

    Parts that are `given` stay, and `groups` stay whole. Rows without label go to training, where
    they are of use, unless the data or a group says otherwise.

    Examples:
        >>> codes = np.repeat([0, 1], 50)
        >>> parts, _ = make_split(SplitConfig(), None, codes, ("a", "b"), [], None, seed=0)
        >>> {part: int((parts == part).sum()) for part in ("train", "validation", "test")}
        {'train': 70, 'validation': 10, 'test': 20}
    """
    split = np.full(len(codes), "train", "U10") if given is None else given.astype("U10")
    own = [] if given is None else [part for part in SPLITS if (given == part).any()]
    if groups is not None:
        pairs = np.unique(np.stack([groups.astype(str), split.astype(str)]), axis=1)
        divided, times = np.unique(pairs[0], return_counts=True)
        if (times > 1).any():
            raise InputError(
                "groups that lie in one part each",
                f"{np.count_nonzero(times > 1)} divided, the first {str(divided[times > 1][0])!r}",
                "mend the split column or the group column",
            )
    fractions = {"validation": config.validation, "test": config.test}
    wanted = {part: share for part, share in fractions.items() if share and part not in own}
    generator = np.random.default_rng(seed)
    if wanted:
        keys = strata(codes, fine)
        if groups is None:
            _draw_rows(split, wanted, codes, keys, names, generator)
        else:
            _draw_groups(split, wanted, codes, keys, names, groups, generator)
    if len(np.unique(codes[(split == "train") & (codes >= 0)])) < 2:
        raise InputError(
            "two classes or more among the training rows",
            f"{np.count_nonzero(split == 'train')} training rows of one class or none",
            "mend the split",
        )
    how = [f"{', '.join(own)} as given"] if own else []
    if wanted:
        drawn = " and ".join(f"{share:g} for {part}" for part, share in wanted.items())
        kind = "whole groups, " if groups is not None else ""
        whole = "the training rows" if own else "all rows"
        how.append(
            f"{drawn} of {whole} drawn with seed {seed}, {kind}stratified by label and finer labels"
        )
    return split, "; ".join(how) or "all rows for training, as asked"


def _first_rows(rows: Integers, keys: Integers, count: int, order: Integers) -> Integers:
    """The `count` rows that come first by their rank within their key over the size of the key."""
    # So each key keeps its share, and a smaller subset lies in a larger one.
    shuffled = rows[np.argsort(order[rows])]
    ordered = shuffled[np.argsort(keys[shuffled], kind="stable")]
    _, starts, sizes = np.unique(keys[ordered], return_index=True, return_counts=True)
    rank = np.arange(len(ordered)) - np.repeat(starts, sizes)
    place = np.lexsort((order[ordered], rank / np.repeat(sizes, sizes)))
    return ordered[place[:count]]


def limited_rows(
    limit: int | LimitConfig,
    split: NDArray[Any],
    codes: Integers,
    fine: Sequence[NDArray[Any]],
    seed: int,
) -> Integers:
    """Rows of a stratified subset, ascending: in all (each part keeps its share), or by part."""
    keys = strata(codes, fine)
    order = np.random.default_rng([seed, 1]).permutation(len(codes))
    if isinstance(limit, int):
        wanted = [("all", np.arange(len(codes)), limit)]
        keys = keys * len(SPLITS) + np.unique(split, return_inverse=True)[1]
    else:
        parts = [(part, np.flatnonzero(split == part)) for part in SPLITS]
        wanted = [(part, rows, getattr(limit, part) or len(rows)) for part, rows in parts]
    for part, rows, count in wanted:
        if count > len(rows):
            raise InputError(
                f"a limit of at most {len(rows)} rows ({part})", f"{count}", "lower the limit"
            )
    chosen = [_first_rows(rows, keys, count, order) for _, rows, count in wanted]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
