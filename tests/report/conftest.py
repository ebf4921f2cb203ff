"""Two short runs on real digits, before and after, and embeddings with labels that are markup."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent))

from markup import IMAGE, SCRIPT


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folders of two runs that differ in alpha, embedded and (the second) probed."""
    from uncollapse.metrics import scores
    from uncollapse.probes import ProbeOptions, embedded_files, probe
    from uncollapse.theory import predict
    from uncollapse.training import build_problem, embed, parse_config, train

    block = {
        "data": {"source": "digits", "map": "parity", "limit": 600},
        "views": {"augmentation": "weak", "flip": False},
        "batch": {"sampler": "balanced", "per_class": 32},
        "encoder": {"kind": "convnet", "widths": [8, 16], "norm": "group"},
        "head": {"dimension": 16, "norm": "none"},
        "optimiser": {"learning_rate": 0.1, "warmup_epochs": 0},
        "epochs": 2,
        "device": "cpu",
    }
    folder = tmp_path_factory.mktemp("runs")
    for name, alpha in (("before", 0.0), ("after", 0.3)):
        problem = build_problem(
            parse_config({**block, "loss": {"alpha": alpha, "temperature": 0.1}})
        )
        prediction = predict(problem.setting(), thresholds=False).to_dict()
        train(problem, folder / name, scores=scores, record={"prediction": prediction})
        target = folder / name / "embeddings.parquet"
        embed(problem.model, problem.data, problem.augmenter, target)
        found = probe(embedded_files([target]), settings=ProbeOptions(draws=2, shots=(5,)))
        (folder / name / "probe.json").write_text(found.to_json())
    return folder / "before", folder / "after"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Pixels of digits whose class, finer label, slice and name are markup."""
    digits, rows = load_digits(), 400
    target = digits.target[:rows]
    path = tmp_path_factory.mktemp("hostile") / "pixels.npz"
    number = np.arange(rows)
    np.savez(
        path,
        z=digits.data[:rows],
        label=np.array(["even", SCRIPT])[target % 2],
        digit=np.array([f"{IMAGE}{k}" for k in range(10)])[target],
        site=np.array(["north", f"</script>{SCRIPT}"])[number % 2],
        id=np.array([f"{k}{SCRIPT}" for k in number]),
    )
    return path


def trial(name, alpha, objective, status="complete", reason=None, note=""):
    mean = {"objective": objective, "task": 0.96, "instance_variance": 0.1, "share": 0.2}
    scores = mean | {"verdict": "healthy", "downstream": {f"other {SCRIPT}": objective}}
    measured = {"projector": scores, "backbone": scores}
    runs = [{"seed": seed, "seconds": 10.0, "measured": measured} for seed in range(3)]
    change = [] if alpha == 0 else [{"key": "loss.alpha", "from": 0.0, "to": alpha}]
    return {
        "name": name,
        "change": change,
        "prediction": {"phase": "spread", "instance_variance": alpha},
        "note": note,
        "status": status,
        "reason": reason,
        "seconds": 30.0,
        "runs": [] if objective is None else runs,
        "mean": {} if objective is None else {"projector": mean, "backbone": mean},
        "gain": None if objective is None or alpha == 0 else GAIN,
        "task_change": None if objective is None or alpha == 0 else TASK,
    }


# As `uncollapse.pilot` writes it.
METHOD = (
    "Dunnett's many-to-one intervals, seeds as blocks, one residual variance for all settings; "
    "the recommended one is confirmed by a paired t interval with fresh seeds on the test split"
)
GAIN = {"estimate": 0.13, "low": 0.08, "high": 0.18}
TASK = {"estimate": -0.002, "low": -0.009, "high": 0.005}


@pytest.fixture
def pilot(runs):
    """A pilot's record; its setting is that of the first run, its sentences are the pilot's."""
    from uncollapse.pilot import objective
    from uncollapse.records import Estimate, PilotReason

    setting = json.loads((runs[0] / "run.json").read_text())["setting"]
    note = "theory does not know augmentation: the prediction is the start's"
    start, best = trial("start", 0, 0.7), trial("a", 0.2, 0.83)
    gain, task = Estimate(13.0, 8.0, 18.0), Estimate(-0.2, -0.9, 0.5)
    said = {"changes": ("loss.alpha 0.0 -> 0.2",), "gain": gain}
    return {
        "schema_version": 1,
        "kind": "pilot",
        "verdict": "change",
        "reasons": [
            PilotReason.from_key("UC801", "pilot.recommended", **said).to_dict(),
            PilotReason.from_key("UC801", "pilot.confirmed", gain=gain, task=task).to_dict(),
        ],
        "layer": "projector",
        "objective": objective("within-class", ("digit",)).to_dict(),
        "start": start,
        "candidates": [
            best,
            trial("b", 0.5, None, "failed", f"seed 0: {SCRIPT} no memory"),
            trial(f"c{IMAGE}", 0.4, 0.75, "pruned", "behind after 4 epochs"),
            trial("d", 0.0, None, "predicted-collapse", "predicted to collapse", note),
        ],
        "recommendation": {
            "trial": "a",
            "change": [{"key": "loss.alpha", "from": 0.0, "to": 0.2}],
            "gain": GAIN,
            "task_change": TASK,
            "margin": 0.01,
            "confirmed": {
                "gain": GAIN,
                "task_change": TASK,
                "split": "test",
                "seeds": [7, 8, 9],
                "runs": {"start": start["runs"], "a": best["runs"]},
            },
            "config": "recommended.yaml",
        },
        "statistics": {"method": METHOD, "family_size": 2, "level": 0.95},
        "conditions": {
            "setting": setting,
            "rows": {"share": 0.5, "train_rows": 400, "validation_rows": 90, "test_rows": 120}
            | {"expected_half_width": 0.05, "wanted_half_width": 0.05},
            "plan": {"epochs": 12, "short": 4, "seconds_per_epoch": 0.5, "runs": 20.0}
            | {"seconds": 150.0},
            "seeds": [0, 1, 2],
            "fresh_seeds": [7, 8, 9],
            "options": {"margin": 0.01, "least_gain": 0.02},
        },
    }


@pytest.fixture
def pilot_folder(pilot, runs, tmp_path):
    """A pilot's folder, with a run of the start and one of what it recommends."""
    folder = tmp_path / "pilot"
    for name, run in zip(("start", "a"), runs, strict=True):
        shutil.copytree(run, folder / "trials" / name / "seed-7")
    (folder / "pilot.json").write_text(json.dumps(pilot))
    return folder


@pytest.fixture
def seeds(runs, tmp_path):
    """Folders of three runs of each of the two settings; the second and third differ by noise."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    rng, found = np.random.default_rng(3), []
    for run in runs:
        for seed in range(3):
            folder = tmp_path / f"{run.name}-seed-{seed}"
            shutil.copytree(run, folder)
            found.append(folder)
            config = yaml.safe_load((folder / "config.yaml").read_text())
            (folder / "config.yaml").write_text(yaml.safe_dump(config | {"seed": seed}))
            if seed == 0:
                continue
            table = pq.read_table(folder / "embeddings.parquet")
            column = table.schema.get_field_index("projector")
            vectors = np.array(table["projector"].to_pylist())
            vectors += 0.05 * rng.standard_normal(vectors.shape)
            noisy = pa.array(vectors.tolist(), table.schema.field(column).type)
            table = table.set_column(column, table.schema.field(column), noisy)
            pq.write_table(table, folder / "embeddings.parquet")
    return found
