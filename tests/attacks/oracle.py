"""Independent readings: what an accepted mutant must give, by NumPy, arrow, csv and json alone.

Each check takes the mutant's folder, its subject's file and what the command answered. It gives
"" where they agree, "-" where the plain reading has no answer of its own, and else what differs.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from attacks.inputs import inputs
from attacks.plain import Columns, described, plain_columns, strict, tensors, text_of

# What a report leaves out of the records it carries on.
LEFT_OUT = {"influences"}
# Without a label, and no class; so is what a table has nothing for, but not the text "None".
NO_LABEL = {"-1", "-1.0"}


def spread(vectors: Any, labels: Any) -> list[tuple[int, float]]:
    """(rows, views apart, and 1 - |mean of unit rows|^2) of each class, in a fixed order."""
    rows = np.array([np.asarray(row, dtype=np.float64) for row in vectors])
    views = rows.shape[1] if rows.ndim > 2 else 1  # as many of each row
    labels = np.repeat(np.asarray(labels).reshape(-1), views)
    rows = rows.reshape(-1, rows.shape[-1])
    given = np.asarray(labels).reshape(-1).tolist()
    names = np.array(["-1" if label is None else str(label) for label in given])
    largest = np.abs(rows).max(axis=1, keepdims=True)
    units = rows / largest
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    return sorted(
        (
            int((names == name).sum()),
            1 - float(np.sum(units[names == name].mean(axis=0) ** 2)),
        )
        for name in set(names) - NO_LABEL
    )


def _same(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> str:
    wanted = [(count, value if count > 1 else math.nan) for count, value in wanted]
    alike = len(found) == len(wanted) and all(
        a == b and (math.isnan(y) or abs(x - y) < 1e-5)
        for (a, x), (b, y) in zip(found, wanted, strict=True)
    )
    return "" if alike else f"classes {found[:3]} for {wanted[:3]}"


def _classes(measurement: Any) -> list[tuple[int, float]]:
    got = [(c["count"], c["within_class_variance"]["plug_in"]) for c in measurement["classes"]]
    return sorted((n, math.nan if value is None else value) for n, value in got)


def _named(columns: Columns, beside: Columns) -> tuple[Any, Any] | None:
    vectors = columns.get("embedding", columns.get("array"))
    labels = beside.get("label", beside.get("array"))
    return None if vectors is None or labels is None else (vectors, labels)


def rows(folder: Path, file: str, answer: Any) -> str:
    """The spread of every class of a measurement."""
    path = folder / file
    if file == "y.npy" or file == "z.npy":
        given = _named(plain_columns(folder / "z.npy"), plain_columns(folder / "y.npy"))
    else:
        columns = plain_columns(path.parent if file.startswith("single") else path)
        given = _named(columns, columns)
    return "-" if given is None else _same(_classes(answer), spread(*given))


def views(folder: Path, file: str, answer: Any) -> str:
    """As `rows`, where every instance has as many views."""
    columns = plain_columns(folder / file)
    if not {"embedding", "label", "unit"} <= set(columns):
        return "-"
    units = np.unique([str(u) for u in np.asarray(columns["unit"]).tolist()], return_counts=True)[1]
    if len(set(units.tolist())) > 1 or np.ndim(columns["embedding"]) != 2:
        return "-"
    wanted = [(n // int(units[0]), v) for n, v in spread(columns["embedding"], columns["label"])]
    found = [(0, value) for _, value in _classes(answer)]
    return _same(sorted(found), sorted((0, value) for _, value in wanted)) if units[0] > 1 else "-"


def kept_first(folder: Path, file: str, answer: Any) -> str:
    """As `rows`, of the split that was judged, and of each instance as it is before its views."""
    about = described(folder / file)
    if not about.get("plain_first") or not about.get("views"):
        return "-"
    columns = plain_columns(folder / file, ("backbone", "label", "split", "view"))
    vectors, labels = np.array(columns["backbone"]), np.asarray(columns["label"])
    judged = np.full(len(labels), True)
    if (split := answer["conditions"]["split"]) is not None:
        judged = np.asarray(columns["split"]) == split
    if "view" in columns:
        judged = judged & (np.asarray(columns["view"]) == 0)
    elif vectors.ndim == 3:
        vectors = vectors[:, 0]
    return _same(_classes(answer), spread(vectors[judged], labels[judged]))


def reported(folder: Path, file: str, answer: Any) -> str:
    """As `rows`, of the measurement inside a report."""
    record = json.loads((folder / "out.json").read_text())
    columns = plain_columns(folder / file)
    given = _named(columns, columns)
    if given is None or "split" in columns:
        return "-"
    return _same(_classes(record["cases"][0]["measured"][0]["found"]), spread(*given))


def _kept(given: Any, said: Any, place: str = "") -> str:
    """What stands in both and differs: what is read may add keys and leave unknown ones out."""
    if isinstance(given, dict) and isinstance(said, dict):
        for key in (given.keys() & said.keys()) - LEFT_OUT:
            if wrong := _kept(given[key], said[key], f"{place}.{key}"):
                return wrong
        return ""
    if isinstance(given, list) and isinstance(said, list):
        if len(given) != len(said):
            return f"{place}: {len(said)} entries for {len(given)}"
        return next(
            (
                w
                for k, p in enumerate(zip(given, said, strict=True))
                if (w := _kept(*p, f"{place}.{k}"))
            ),
            "",
        )
    equal = given == said and isinstance(given, bool) == isinstance(said, bool)
    return "" if equal else f"{place}: {said!r:.60} for {given!r:.60}"


def record(folder: Path, file: str, answer: Any) -> str:
    """Every number that a report carries on from a record is the record's."""
    given, said = strict(folder / file), json.loads((folder / "out.json").read_text())
    held = [case.get("prediction") for case in said["cases"]]
    held += [m["found"] for case in said["cases"] for m in case["measured"]]
    held += [probe for case in said["cases"] for probe in case["probes"]] + said["comparisons"]
    for change in given.get("changes", ()):
        _directed(change)
    alike = [h for h in held if h and h.get("kind") == given.get("kind", h.get("kind"))]
    found = [_kept(given, h) for h in alike]
    return "-" if not found else ("" if "" in found else found[0])


def _directed(change: Any) -> None:
    """The direction goes by the numbers, whatever word the record has beside them."""
    low, high = change.get("low"), change.get("high")
    if low is not None and high is not None:
        change["direction"] = "rose" if low > 0 else "fell" if high < 0 else "no change seen"


def compared(folder: Path, file: str, answer: Any) -> str:
    given = strict(folder / file)
    wrong = "" if answer["verdict_before"] == given["verdict"] else "another verdict before"
    for change in answer["changes"]:
        held = given.get(change["name"])
        if isinstance(held, dict) and held.get("estimate") != change["before"]:
            wrong = f"{change['name']} {change['before']} for {held.get('estimate')}"
    return wrong


def prediction(folder: Path, file: str, answer: Any) -> str:
    return _kept(strict(folder / file), answer["prediction"])


def counts(folder: Path, file: str, answer: Any) -> str:
    """Larger classes spread more, so that the order of the variances is that of the sizes."""
    wanted = [int(part) for part in text_of(folder / file).split()]
    held = answer["instance_variance_per_class"]
    if len(held) != len(wanted):
        return f"{len(held)} classes for {len(wanted)}"
    alone = [value is None or value == 0 for value, n in zip(held, wanted, strict=True) if n == 1]
    return "" if all(alone) else "a class of one spreads"


def state(folder: Path, file: str, answer: Any) -> str:
    """Rows of the classes, by the header; totals give their spread."""
    arrays = plain_columns(folder / file)
    header = json.loads(bytes(arrays["uncollapse_accumulator"]))
    d = header["dimension"]
    if header["interval"] == "blocks" and not header["grouped"]:
        # Where the sums of each class's blocks lie; a block without rows has none.
        places = arrays["place"].reshape(-1, header["blocks"])[: len(header["labels"])]
        sums = np.array([arrays["sums"][own[own >= 0]].sum(axis=0) for own in places])
        units = arrays["units"][: len(sums)]
    elif not header["grouped"]:
        sums, units = arrays["totals"][:, :d], arrays["units"]
    else:
        return "-"
    wanted = sorted(
        (int(n), 1 - float(np.sum((total / n) ** 2)))
        for n, total in zip(units, sums, strict=True)
        if n
    )
    return _same(_classes(answer), wanted)


def weights(folder: Path, file: str, answer: Any) -> str:
    """The projector is the head's matrix applied to the backbone."""
    held, out = tensors(folder / file), np.load(folder / "out.npz")
    wanted = out["backbone"].astype(np.float64) @ held["head.weight"].T + held["head.bias"]
    scale = 1e-5 * max(1.0, float(np.abs(wanted).max()))
    return (
        "" if np.allclose(out["projector"], wanted, rtol=1e-4, atol=scale) else "other embeddings"
    )


def config(folder: Path, file: str, answer: Any) -> str:
    """What a configuration says once is what the loader holds; what it says twice is refused."""

    class Once(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) < len(keys):
            raise ValueError("a key twice")
        return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))

    Once.add_constructor("tag:yaml.org,2002:map", mapping)
    data = (folder / file).read_bytes()
    text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    block = yaml.load(text, Once)
    about = json.loads(str(np.load(folder / "out.npz")["about"]))
    wrong = block["data"]["source"] != about["data"]["source"]
    width = np.load(folder / "out.npz")["projector"].shape[-1]
    held = block.get("head", {}).get("dimension", 128)
    layers = block.get("head", {}).get("layers", 2)
    return "another width" if layers and width != held else ("another source" if wrong else "")


CHECKS: dict[str, Callable[[Path, str, Any], str]] = {
    "rows": rows,
    "views": views,
    "kept first": kept_first,
    "reported": reported,
    "record": record,
    "compared": compared,
    "prediction": prediction,
    "counts": counts,
    "state": state,
    "inputs": inputs,
    "weights": weights,
    "config": config,
}
