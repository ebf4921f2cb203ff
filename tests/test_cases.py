"""The worked cases can be walked: every command of their pages, on a few rows for a few steps."""

import re
from pathlib import Path

import pytest
import yaml

from command_line import run_here

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("case-*.md"))
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_case_can_be_walked(page, tmp_path, monkeypatch):
    if page.stem == "case-garments" and not DEBIAN.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed; .ci/run installs it")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in SMALL:
        (tmp_path / "configs" / name).write_text(small(name), "utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    for command in commands:
        code, printed = run_here(command)
        assert code == 0, f"{command}\n{printed}"
        # So small a pilot may find nothing; what the page does next needs a setting all the same.
        wanted = tmp_path / "runs" / "pilot" / "recommended.yaml"
        if "uncollapse pilot" in command and not wanted.exists():
            start = (tmp_path / "runs" / "before" / "config.yaml").read_text("utf-8")
            wanted.write_text(start.replace("../solar", str(tmp_path / "solar")), "utf-8")
    assert {"train", "embed", "measure", "pilot", "compare", "report"} <= {
        command.split()[1] for command in commands
    }
    pages = list(tmp_path.glob("report*.html"))
    assert pages
    assert all(page.stat().st_size < 3e6 for page in pages)
