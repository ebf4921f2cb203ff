"""Images per second of a training step fed by the Loader, against the step on a batch in memory.

    python benchmarks/input_pipeline.py                 # Fashion-MNIST, medium views, one thread
    python benchmarks/input_pipeline.py --workers 0 1   # also with a process that works ahead
    python benchmarks/input_pipeline.py --source digits # where Fashion-MNIST is not installed
    python benchmarks/input_pipeline.py --strengths weak medium strong

The step is forward, SupCL loss, backward and SGD of a net of three convolutions of stride 2, on
real 28 px grey images, 256 instances with two views. "in memory" repeats it on a batch of finished
views. Sources: decoded images in memory, and a folder of PNG files that are decoded at every read.
Contenders take turns within each round, so that a change of the machine's speed meets all alike;
the ratio is the median over rounds. Without workers the time is CPU time, with workers it is
wall-clock time, which only means something on cores that are otherwise idle. Table on stdout.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from uncollapse.data import (
    Augmenter,
    BatchConfig,
    LabelledData,
    Loader,
    ViewsConfig,
    data_config,
    load_data,
    make_sampler,
    training_scales,
)
from uncollapse.losses import supcl_loss

TARGET = 0.70


class Step:
    """Forward, loss, backward and update of a small net."""

    def __init__(self, channels: int) -> None:
        widths = (channels, 32, 64, 128)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after)]
            layers.append(nn.ReLU())
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 64))
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)

    def __call__(self, views: Tensor, labels: Tensor) -> None:
        """One step on (n, p, C, H, W) views."""
        z = self.net(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        loss = supcl_loss(z, labels, alpha=0.5, temperature=0.1)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def png_folder(data: LabelledData, folder: Path, count: int) -> LabelledData:
    """The first images as PNG files, a directory per class, decoded whenever they are read."""
    from PIL import Image

    for row in range(count):
        place = folder / "train" / f"class{data.labels[row]}" / f"{row}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.inputs.read(np.array([row]))[0, 0].numpy()).save(place)
    split = {"validation": 0.0, "test": 0.0}
    block = {"source": "image-folder", "path": str(folder), "memory_mib": 0.0, "split": split}
    return load_data(data_config(block))


def make_loader(data: LabelledData, strength: str, batch: int, workers: int) -> Loader:
    rows = data.rows("train")
    sampler = make_sampler(BatchConfig(size=min(batch, len(rows))), data.labels[rows], seed=0)
    scales = training_scales(data.inputs, rows, images=2000)
    config = ViewsConfig.model_validate({"augmentation": strength})
    augmenter = Augmenter(config, data.inputs.kind, data.inputs.shape, scales)
    return Loader(data, rows, sampler, augmenter, seed=0, workers=workers)


def endless(loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, epoch after epoch, as a training loop takes them."""
    epoch = 0
    while True:
        for batch in loader.epoch(epoch):
            yield batch.views, batch.labels
        epoch += 1


def seconds(
    step: Step, batches: Iterator[tuple[Tensor, Tensor]], steps: int, clock: Callable[[], float]
) -> float:
    """Seconds per step."""
    begin = clock()
    for _ in range(steps):
        step(*next(batches))
    return (clock() - begin) / steps


def compare(loader: Loader, *, rounds: int, steps: int, workers: int) -> tuple[float, float, float]:
    """Views per second in memory and fed by the loader, and their ratio; medians over rounds."""
    clock = time.perf_counter if workers else time.process_time
    fed = endless(loader)
    finished = next(fed)
    step = Step(finished[0].shape[2])
    memory = iter(lambda: finished, None)
    for batches in (memory, fed):
        seconds(step, batches, 2, clock)
    pairs = [
        (seconds(step, memory, steps, clock), seconds(step, fed, steps, clock))
        for _ in range(rounds)
    ]
    views = finished[0].shape[0] * finished[0].shape[1]
    fast, slow = (statistics.median(views / pair[side] for pair in pairs) for side in (0, 1))
    return fast, slow, statistics.median(pair[0] / pair[1] for pair in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=["fashion-mnist", "digits"], default="fashion-mnist")
    parser.add_argument("--strengths", nargs="+", default=["medium"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--files", type=int, default=2048, help="PNG files that are written")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    size = 28 if chosen.source == "digits" else None
    data = load_data(data_config({"source": chosen.source, "image": {"size": size}}))
    print("| images | views | workers | in memory, views/s | fed, views/s | ratio |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = png_folder(data, Path(folder), min(chosen.files, len(data.labels)))
        for name, source in (("in memory", data), ("PNG folder", files)):
            for strength in chosen.strengths:
                for workers in chosen.workers:
                    loader = make_loader(source, strength, chosen.batch, workers)
                    fast, slow, ratio = compare(
                        loader, rounds=chosen.rounds, steps=chosen.steps, workers=workers
                    )
                    verdict = "" if ratio >= TARGET else f" (below {TARGET:.2f})"
                    print(
                        f"| {name} | {strength} | {workers} | {fast:,.0f} | {slow:,.0f} "
                        f"| {ratio:.2f}{verdict} |"
                    )


if __name__ == "__main__":
    main()
