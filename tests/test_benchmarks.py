"""The benchmarks that the pages name run and print their tables, here on next to nothing.

Those of real data and of the study are run by the pages themselves.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("loss.py --sizes 64 --classes 4 --repeats 1 --no-memory", "slowest / fastest"),
        (
            "measure.py --rows 4000 --classes 4 --repeats 1 --format parquet",
            "relative to sum parts",
        ),
        ("pilot_workers.py --runs 2 --epochs 1", "throughput of two workers"),
        ("slice_gaps.py --runs 1 --sites 3", "one site's finer labels are lost"),
        ("probe.py --rows 600 --dimension 8 --classes 3 --values 2", "s CPU"),
        ("input_pipeline.py --source digits --rounds 1 --steps 1 --files 64", "PNG folder"),
    ],
    ids=lambda text: text.split(".py")[0],
)
def test_a_benchmark_prints_its_table(command, part, tmp_path):
    name, *options = command.split()
    line = [sys.executable, str(FOLDER / name), *options]
    answer = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert part in answer.stdout
