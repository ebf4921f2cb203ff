"""The same batches on any number of processes, from any step on, with or without workers."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import torch

from uncollapse.data import Augmenter, BatchConfig, Loader, ViewsConfig, make_sampler
from uncollapse.errors import InputError


@dataclass
class Pictures:
    """Rows of a fixed array of pictures; one of them cannot be read."""

    array: torch.Tensor
    broken: int = -1
    kind = "image"
    shape = (1, 9, 9)

    def read(self, rows):
        if self.broken in rows:
            raise InputError("a readable image", f"row {self.broken}", "leave it out")
        return self.array[torch.from_numpy(rows)]


@dataclass
class Data:
    inputs: Pictures
    labels: np.ndarray


def loader(size=20, broken=-1, augmentation="strong", **more):
    generator = np.random.default_rng(0)
    pictures = torch.from_numpy(generator.integers(0, 256, (120, 1, 9, 9), dtype=np.uint8))
    data = Data(Pictures(pictures, broken), generator.integers(0, 3, 120))
    rows = np.arange(1, 120, 2)
    sampler = make_sampler(BatchConfig(size=size), data.labels[rows], seed=0)
    config = ViewsConfig(augmentation=augmentation, normalisation="none")
    return Loader(data, rows, sampler, Augmenter(config, "image", (1, 9, 9)), seed=5, **more)


def fields(batches):
    return [(b.views, b.labels, b.instances) for b in batches]


def equal(left, right):
    return len(left) == len(right) and all(
        torch.equal(a, b)
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("size", [2, 20, 24])
@pytest.mark.parametrize("world", [2, 3, 8])
def test_the_shares_of_all_processes_are_the_batch_of_one(size, world):
    if world > size:
        with pytest.raises(InputError, match="at most 2 processes"):
            loader(size, rank=0, world=world)
        return
    whole = fields(loader(size).epoch(3))
    shares = [fields(loader(size, rank=rank, world=world).epoch(3)) for rank in range(world)]
    assert all(len(step[1]) > 0 for share in shares for step in share)
    joined = [
        tuple(torch.cat(parts) for parts in zip(*step, strict=True))
        for step in zip(*shares, strict=True)
    ]
    assert equal(joined, whole)


def test_batches_are_the_rows_that_they_name():
    made = loader(augmentation="none")
    batches = list(made.epoch(0))
    assert len(batches) == 3
    for batch in batches:
        rows = batch.instances.numpy()
        assert (rows % 2 == 1).all()
        assert batch.labels.tolist() == made._data.labels[rows].tolist()
        assert batch.views.shape == (20, 2, 1, 9, 9)
        torch.testing.assert_close(batch.views[:, 1], made._data.inputs.read(rows) / 255)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_entered_at_any_step_and_leaves_the_global_generators_alone(workers):
    whole = fields(loader().epoch(2))
    before = torch.get_rng_state()
    assert equal(fields(loader(workers=workers).epoch(2, start=1)), whole[1:])
    assert fields(loader(workers=workers).epoch(2, start=3)) == []
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(whole[0][0], fields(loader().epoch(1))[0][0])
    with pytest.raises(InputError, match="start = 4"):
        loader().epoch(2, start=4)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_row_that_cannot_be_read_is_an_input_error(workers):
    with pytest.raises(InputError, match=r"^expected a readable image; found row 7; leave it out$"):
        list(loader(size=60, broken=7, workers=workers).epoch(0))


def test_leaving_an_epoch_early_ends_its_workers():
    batches = loader(workers=2).epoch(0)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"world": 9}, "at most 8 processes for batches of 20 rows; found 9"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"workers": -1}, "workers"),
    ],
)
def test_processes_that_cannot_be_are_refused(more, message):
    with pytest.raises(InputError, match=message):
        loader(**more)


@pytest.mark.slow
def test_workers_end_when_the_process_is_killed():
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from test_loader import loader\n"
        "batches = loader(workers=1).epoch(0); next(batches)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    folder = os.path.dirname(__file__)  # noqa: PTH120
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 30
    while time.monotonic() < limit and any(
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children
    ):
        time.sleep(0.2)
    assert not any(
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children
    )
