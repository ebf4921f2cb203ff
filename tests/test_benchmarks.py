"""The benchmarks that the pages name run and print their tables, here on next to nothing.

Those of real data and of the study are run by the pages themselves.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import script

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch, tmp_path):
    """As `make` runs them: measure.py starts itself anew where there may be more."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(tmp_path)


# Processes by the dozen, each of which imports everything.
PROCESSES = [
    ("measure.py --rows 4000 --classes 4 --repeats 1 --format parquet", "relative to sum parts"),
    ("pilot_workers.py --runs 2 --epochs 1", "throughput of two workers"),
]
HERE = [
    ("loss.py --sizes 64 --classes 4 --repeats 1 --no-memory", "slowest / fastest"),
    (f"loss_builds.py {FOLDER.parent} {FOLDER.parent} --sizes 64 --steps 2", "| 64 | 10 |"),
    (
        "loss_gpu.py --device cpu --sizes 64 --dimensions 16 --seconds 1",
        "| 64 | 16 | float32 | auto",
    ),
    ("slice_gaps.py --runs 1 --sites 3", "one site's finer labels are lost"),
    ("probe.py --rows 600 --dimension 8 --classes 3 --values 2", "s CPU"),
    ("keep.py --sizes 64 --classes 4 --e 8 --repeats 2", "prepared, all columns"),
    ("track.py --sizes 64 --classes 4 --repeats 2", "read at every step"),
    (
        "keep_study.py --only digits --small --seeds 1 --methods free sincere -o out",
        "digits sincere 0",
    ),
    ("input_pipeline.py --source digits --rounds 1 --steps 1 --files 64", "PNG folder"),
]


@pytest.mark.parametrize(
    ("command", "part"),
    [
        pytest.param(*each, marks=mark, id=each[0].split(".py")[0])
        for mark, commands in ((pytest.mark.slow, HERE), (pytest.mark.case, PROCESSES))
        for each in commands
    ],
)
def test_a_benchmark_prints_its_table(command, part):
    name, *options = command.split()
    answer = script(FOLDER / name, *options)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert part in answer.stdout


def test_without_a_gpu_its_benchmark_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answer = script(FOLDER / "loss_gpu.py")
    assert answer.returncode == 2
    assert answer.stderr.startswith("expected an NVIDIA GPU, found none: give --device cpu")
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""


@pytest.mark.slow
def test_retention_chooses_as_finer_labels_do_where_it_can(tmp_path):
    """Two settings: one keeps the base as it is, the other has noise in its place."""
    rng, folder = np.random.default_rng(0), tmp_path / "made"
    folder.mkdir()
    kind = np.arange(240) % 4
    base = np.eye(4, 8)[kind] + 0.1 * rng.standard_normal((240, 8))
    label = np.where(kind < 2, "a", "b")
    parts = {"train": slice(0, 120), "test": slice(120, 240)}
    arrays = {"base": base.astype(np.float32), "label": label, "fine": kind.astype(str)}
    arrays["id"] = np.arange(240).astype(str)
    held = {f"{p}/{k}": v[rows] for p, rows in parts.items() for k, v in arrays.items()}
    np.savez(folder / "base.npz", **held)
    flat = 3 * np.eye(2, 8)[kind // 2] + rng.standard_normal((240, 8))
    for seed in range(2):
        for alpha, layer in (("0.0079", flat), ("0.5", base)):
            noisy = (layer + 0.01 * rng.standard_normal(layer.shape)).astype(np.float16)
            run = {f"{p}/projector": noisy[rows] for p, rows in parts.items()}
            run |= {f"{p}/backbone": base[rows].astype(np.float16) for p, rows in parts.items()}
            np.savez(folder / f"supcl-{alpha}-0.1-{seed}.npz", **run)
    words = (str(tmp_path), "--data", "made", "--seeds", "2")
    answer = script(FOLDER / "pilot_without_labels.py", *words)
    assert answer.returncode == 0, answer.stderr[-2000:]
    (row,) = [row for row in answer.stdout.splitlines() if "made, projector" in row]
    _, _, best, kept, below, *_ = row.split(" | ")
    assert best == kept
    assert best.startswith("alpha 0.5, tau 0.1")
    assert below == "0.0"
