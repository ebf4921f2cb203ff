"""Two short runs on real digits, before and after, and embeddings with labels that are markup."""

import json
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
    from uncollapse.probes import ProbeSettings, embedded_files, probe, scores
    from uncollapse.theory import Setting, predict
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
        prediction = predict(Setting(**problem.setting()), thresholds=False).to_dict()
        train(problem, folder / name, scores=scores, record={"prediction": prediction})
        target = folder / name / "embeddings.parquet"
        embed(problem.model, problem.data, problem.augmenter, target)
        found = probe(embedded_files([target]), settings=ProbeSettings(draws=2, shots=(5,)))
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


def trial(name, alpha, objective, status="complete", reason=None):
    measured = {"objective": objective, "task": 0.96, "instance_variance": 0.1, "share": 0.2}
    runs = [
        {"seed": seed, "status": "complete", "measured": {"projector": measured}}
        for seed in range(3)
    ]
    change = [] if alpha == 0 else [{"key": "loss.alpha", "from": 0.0, "to": alpha}]
    return {
        "name": name,
        "change": change,
        "prediction": {"phase": "spread", "instance_variance": alpha},
        "status": status,
        "reason": reason,
        "seconds": 30.0,
        "runs": [] if objective is None else runs,
        "mean": {} if objective is None else {"projector": measured},
    }


@pytest.fixture
def pilot(runs):
    """A pilot's record; its setting is that of the first run."""
    setting = json.loads((runs[0] / "run.json").read_text())["setting"]
    gain = {"estimate": 0.13, "low": 0.08, "high": 0.18}
    task = {"estimate": -0.002, "low": -0.009, "high": 0.005}
    return {
        "schema_version": 1,
        "kind": "pilot",
        "verdict": "change",
        "reasons": [],
        "layer": "projector",
        "objective": {"name": "within", "text": "within-class probe"},
        "start": trial("start", 0, 0.7),
        "candidates": [
            trial("a", 0.2, 0.83),
            trial("b", 0.5, None, "failed", f"{SCRIPT} no memory"),
        ],
        "recommendation": {
            "trial": "a",
            "change": [{"key": "loss.alpha", "from": 0.0, "to": 0.2}],
            "gain": gain,
            "task_change": task,
            "margin": 0.01,
            "confirmed": {"gain": gain, "task_change": task, "split": "test", "seeds": [7, 8, 9]},
            "config": "recommended.yaml",
        },
        "statistics": {"method": "Holm", "family_size": 2, "level": 0.95},
        "conditions": {"setting": setting},
    }
