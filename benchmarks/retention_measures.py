"""Measures of the networks that benchmarks/retention_study.py trained (docs/retention.md).

    OMP_NUM_THREADS=1 python benchmarks/retention_measures.py runs/study -o docs/study

Writes retention-DATA.json: for every network and layer the share, W, retention against what the
network starts from ("base") and against its own backbone, the alternatives of
benchmarks/similarities.py, few-shot accuracy of the finer label inside the classes, and accuracy of
the training label; on test rows, and share and retention on training rows too. Networks that were
measured before are kept; --anew measures all.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from similarities import inside_classes

from uncollapse import measure
from uncollapse.metrics import retention
from uncollapse.probes import (
    Embedded,
    ProbeOptions,
    WithinClassOptions,
    paired_few_shot,
    probe,
)
from uncollapse.records import to_json_types
from uncollapse.samples import ByRole, checked, sample_of

LAYERS = ("projector", "backbone")
SHOTS = (1, 5, 10, 50)
PACKAGES = ("uncollapse", "torch", "numpy")
_ROUND = 5


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length in float64."""
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def few_shots(layers: dict[str, np.ndarray], columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Accuracy of the finer label by some training rows of each, in the class; by layer and shots.

    As many shots as the smallest finer label allows.
    """
    split = np.repeat(["train", "test"], [len(columns["train/fine"]), len(columns["test/fine"])])
    names = {
        key: np.concatenate([columns[f"train/{key}"], columns[f"test/{key}"]])
        for key in ("label", "fine")
    }
    embedded = Embedded(layers, names, split, label="label")
    labels, fine = columns["train/label"], columns["train/fine"]
    smallest = min(np.unique(fine[labels == c], return_counts=True)[1].min() for c in set(labels))
    shots = tuple(s for s in SHOTS if s <= smallest) or (1,)
    within = WithinClassOptions(least_units=max(shots), permutations=0)
    options = ProbeOptions(probes=("within-class few-shot",), shots=shots, within=within)
    result = probe(embedded, targets=["fine"], settings=options)
    return {
        layer: {
            str(reading.details.shots): reading.score.balanced_accuracy.estimate
            for reading in result.target(layer, "fine").readings
        }
        for layer in layers
    }


def label_accuracy(train: np.ndarray, test: np.ndarray, columns: dict[str, np.ndarray]) -> float:
    """Training label of test rows by the 20 nearest training rows."""
    names, codes = np.unique(columns["train/label"], return_inverse=True)
    nearest = np.argpartition(-(test @ train.T), 20, axis=1)[:, :20]
    votes = np.stack([(codes[nearest] == c).sum(axis=1) for c in range(len(names))], axis=1)
    return float(np.mean(names[votes.argmax(axis=1)] == columns["test/label"]))


def geometry(rows: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Share and W with their intervals."""
    record = measure(rows, labels, permutations=0, probe=None)
    found = {
        "share": record.share,
        "within": record.within_class_variance,
        "total": record.total_variance,
    }
    return {name: to_json_types(value) for name, value in found.items()}


def finer_labels(
    rows: np.ndarray, reference: np.ndarray, columns: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Few-shot accuracy of the finer labels by both embeddings, paired."""
    by_role = ByRole[Any](labels=columns["test/label"], fine_labels=columns["test/fine"])
    sample = checked(sample_of(rows, by_role, reference=reference), drop_invalid=False)
    assert sample.fine_labels is not None
    read = paired_few_shot(sample, sample.fine_labels, least_units=10, confidence=0.95, seed=0)
    found: dict[str, Any] = to_json_types(read)
    return found


def of_layer(
    layers: dict[str, np.ndarray],
    references: dict[str, dict[str, np.ndarray]],
    columns: dict[str, np.ndarray],
) -> dict[str, Any]:
    """What is measured of one layer against each reference."""
    found: dict[str, Any] = {}
    for part in ("test", "train"):
        labels, rows = columns[f"{part}/label"], layers[part]
        found[part] = geometry(rows, labels)
        kept = {
            name: retention(rows, reference[part], labels) for name, reference in references.items()
        }
        found[part]["retention"] = {
            name: {
                **to_json_types(record.retention),
                "classes": {str(c.label): to_json_types(c.retention) for c in record.classes},
            }
            for name, record in kept.items()
        }
    # On test rows alone, as `measure` does with a reference and finer labels.
    for name, reference in references.items():
        sides = layers["test"], reference["test"]
        found["test"]["retention"][name]["probe"] = finer_labels(*sides, columns)
    found["alternatives"] = {
        name: inside_classes(layers["test"], reference["test"], columns["test/label"])
        for name, reference in references.items()
    }
    found["label"] = label_accuracy(layers["train"], layers["test"], columns)
    return found


def of_file(path: Path, base: dict[str, np.ndarray], columns: dict[str, np.ndarray]) -> list[Any]:
    """The entries of a network: one for each layer."""
    with np.load(path) as stored:
        kind, *setting, seed = path.stem.replace("cross-entropy", "crossentropy").split("-")
        arrays = {k: {p: unit(stored[f"{p}/{k}"]) for p in ("test", "train")} for k in LAYERS}
        seconds = float(stored["seconds"])
    joint = {name: np.concatenate([own["train"], own["test"]]) for name, own in arrays.items()}
    accuracy = few_shots(joint, columns)
    entries = []
    for layer in LAYERS:
        references = {"base": base} | (
            {"backbone": arrays["backbone"]} if layer == "projector" else {}
        )
        alpha, temperature = map(float, setting) if setting else (None, None)
        entry = {
            "network": kind.replace("crossentropy", "cross-entropy"),
            "alpha": alpha,
            "temperature": temperature,
            "seed": int(seed),
            "layer": layer,
            "dimension": arrays[layer]["test"].shape[1],
            "seconds": seconds,
            "few_shot": accuracy[layer],
        }
        entries.append(entry | of_layer(arrays[layer], references, columns))
    return entries


def of_base(base: dict[str, np.ndarray], columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the networks start from, measured as they are."""
    joint = {"base": np.concatenate([base["train"], base["test"]])}
    return {
        "dimension": base["test"].shape[1],
        "few_shot": few_shots(joint, columns)["base"],
        "label": label_accuracy(base["train"], base["test"], columns),
        **{part: geometry(base[part], columns[f"{part}/label"]) for part in ("test", "train")},
    }


def rounded(value: Any) -> Any:
    """Numbers of a few digits, so that the files stay small."""
    if isinstance(value, float):
        return float(f"{value:.{_ROUND}g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def measure_folder(folder: Path, output: Path, anew: bool) -> None:
    """Measure what is new in the folder of one data set."""
    with np.load(folder / "base.npz") as stored:
        columns = dict(stored)
    base = {part: unit(columns[f"{part}/base"]) for part in ("test", "train")}
    record: dict[str, Any] = {"data": folder.name, "networks": {}}
    if output.exists() and not anew:
        record = json.loads(output.read_text(encoding="utf-8"))
    predictions = folder / "predictions.json"
    if predictions.exists():
        record["predictions"] = json.loads(predictions.read_text(encoding="utf-8"))
    record["versions"] = {name: version(name) for name in PACKAGES}
    if "base" not in record:
        record["rows"] = {part: len(base[part]) for part in base}
        record["classes"] = {
            str(c): sorted(set(columns["test/fine"][columns["test/label"] == c].tolist()))
            for c in np.unique(columns["test/label"])
        }
        record["base"] = rounded(of_base(base, columns))
    for path in sorted(folder.glob("*.npz")):
        if path.stem in record["networks"] or path.stem == "base" or ".part" in path.name:
            continue
        record["networks"][path.stem] = rounded(of_file(path, base, columns))
        text = json.dumps(record, indent=1)
        output.write_text(text + "\n", encoding="utf-8")
        print(folder.name, path.stem, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/study"))
    parser.add_argument("--anew", action="store_true")
    options = parser.parse_args()
    for base in sorted(options.runs.glob("*/base.npz")):
        folder = base.parent
        measure_folder(folder, options.output / f"retention-{folder.name}.json", options.anew)


if __name__ == "__main__":
    main()
