"""The demo's own parts; `make demo` runs the whole of it."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

from uncollapse.cli import demo
from uncollapse.errors import InputError
from uncollapse.metrics import measure
from uncollapse.records import PilotReason, PilotResult
from uncollapse.training import parse_config

ROOT = Path(__file__).parents[2]
SETTINGS = resources.files("uncollapse.cli") / "demos"


@pytest.mark.parametrize("name", ["fashion-mnist", "solar-cells", "solar-features"])
def test_the_demo_trains_the_ready_configuration(name):
    of_demo = yaml.safe_load((SETTINGS / f"{name}.yaml").read_text("utf-8"))
    ready = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text("utf-8"))
    for block in (of_demo, ready):
        block["data"].pop("path", None)
    assert of_demo == ready


def test_it_starts_from_supcon_as_published_which_is_predicted_to_collapse(tmp_path):
    from uncollapse.theory import predict
    from uncollapse.training import build_problem

    start = demo._start(tmp_path, "digits", 3)
    config = parse_config(yaml.safe_load(start.read_text("utf-8")))
    assert config.seed == 3
    assert config.loss.alpha == pytest.approx(1 / (2 * config.batch.per_class - 1), rel=1e-3)
    assert predict(build_problem(config).setting()).phase != "spread"


def test_a_folder_with_another_demo_is_left_alone(tmp_path):
    demo._start(tmp_path, "digits", 0)
    before = (tmp_path / "start.yaml").read_text("utf-8")
    with pytest.raises(InputError, match="another seed"):
        demo._start(tmp_path, "digits", 1)
    assert (tmp_path / "start.yaml").read_text("utf-8") == before


def test_missing_packages_are_named_before_anything_runs(monkeypatch):
    found = demo.find_spec
    monkeypatch.setattr(
        demo, "find_spec", lambda name: None if name == "elpv_dataset" else found(name)
    )
    demo._need_packages("digits")
    with pytest.raises(InputError, match=r"uncollapse\[solar\]"):
        demo._need_packages("solar-cells")
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"without torch, .*uncollapse\[all\]"):
        demo._need_packages("digits")


def test_a_change_that_does_not_help_is_said(capsys):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100)
    held = measure(rng.normal(size=(100, 4)), labels, permutations=0)
    reason = PilotReason("UC802", "no change gains 2 points or more")
    demo._conclude(held, None, PilotResult(verdict="keep", reasons=(reason,)))
    printed = capsys.readouterr().out
    assert "none: the pilot says keep: no change gains" in printed
    assert "after" not in printed


def test_the_pages_show_what_the_demo_ends_with(capsys):
    rng = np.random.default_rng(0)
    held = measure(rng.normal(size=(100, 4)), rng.integers(0, 2, 100), permutations=0)
    piloted = PilotResult.read(ROOT / "docs" / "study" / "demo-pilot.json")
    demo._conclude(held, held, piloted)
    printed = capsys.readouterr().out
    ending = printed[printed.index("change ") :].split()
    for page in ("README.md", "docs/pilot.md"):
        block = (ROOT / page).read_text("utf-8").split("```text\nbefore ")[1].split("```")[0]
        assert block[block.index("change ") :].split() == ending, page
    # Layer, measure, start, best free alternative, both gains, and what would be better still.
    for part in (
        "at the projector over the start",
        "nearest mean of ten rows",
        "over the best that needs no training: whiten the projector",
        "linear probe",
        "keep the inputs beside the projector",
        "91.4%, against 89.4% as recommended",
    ):
        assert part in " ".join(ending)
