"""The loss on a GPU: every backend beside what it replaces, as one table in Markdown.

    python benchmarks/loss_gpu.py                # an NVIDIA GPU, under 8 minutes
    python benchmarks/loss_gpu.py --seconds 60   # the same with fewer samples
    python benchmarks/loss_gpu.py --device cpu --sizes 64 --dimensions 16   # does it run?
    TRITON_INTERPRET=1 python benchmarks/loss_gpu.py --device cpu --sizes 64 --dimensions 16

The last runs the fused kernels too, by Triton's interpreter.

Forward and backward of two views in up to 100 classes at temperature .1. Times are medians of
samples in shuffled order, by the device's own clock, after three runs each; memory is the growth of
the peak of what is allocated. "Of peak" counts 6 N N d operations, whatever a contender computes
twice. Beyond d = 128 the fused gradient has two paths, and the one that is not taken (strips up to
N = 16,384, the library beyond) is measured beside it. First each backend is held against the
definition in float64 at N = 1024.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
from loss_contenders import dense_supcon, metric_learning
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse.losses import SupCLLoss, finish_checks, reference_supcl, supcl_loss
from uncollapse.losses._engine.fused import evaluate
from uncollapse.losses._engine.fused.tilings import WIDEST

PEAK = {torch.bfloat16: 989e12, torch.float32: 67e12}  # H100 and H200, dense, without tf32.
SIZES = [256, 1024, 4096, 8192, 16384, 65536, 262144]
# Others need many matrices of N x N.
LARGEST = {"dense, masked": 16384, "compiled": 16384, "pytorch-metric-learning": 16384}
LARGEST_OURS = {"dense": 32768, "dense, compiled": 32768, "tiled": 65536, "fused, library": 65536}


def ours(backend: str, precision: str = "exact") -> Callable[[Tensor, Tensor], Tensor]:
    def loss(views: Tensor, labels: Tensor) -> Tensor:
        return supcl_loss(
            views, labels, alpha=0.5, temperature=0.1, backend=backend, precision=precision
        )

    return loss


def fused(at_once: int) -> Callable[[Tensor, Tensor], Tensor]:
    """With products by the library up to so many slopes, and by strips beyond."""

    def loss(views: Tensor, labels: Tensor) -> Tensor:
        with mock.patch.object(evaluate, "AT_ONCE", at_once):
            return ours("fused")(views, labels)

    return loss


def inf_cl(views: Tensor, labels: Tensor) -> Tensor:
    """Each row against all of the other tower, which is the same rows the other way round."""
    from inf_cl import cal_flash_loss

    rows = normalize(views.flatten(0, 1), dim=1)
    return cal_flash_loss(rows, rows.flip(0), scale=10.0, head_dim=128).mean()


def siglip_kernel(views: Tensor, labels: Tensor) -> Tensor:
    """A sigmoid for each pair of rows of two such towers."""
    from siglip_kernel import fused_siglip_loss

    rows = normalize(views.flatten(0, 1), dim=1)
    log_inverse, bias = rows.new_tensor(2.3, dtype=torch.float32), rows.new_tensor(-10.0)
    return fused_siglip_loss(rows, rows.flip(0), log_inverse, bias.float())


# Of their own task, measured where they are installed.
TWO_TOWERS = {"inf_cl": inf_cl, "siglip_kernel": siglip_kernel}


def contenders(device: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    dense = SupCLLoss(alpha=0.5, temperature=0.1, backend="dense", checks="deferred")
    found = {
        "dense, masked": dense_supcon,
        "pytorch-metric-learning": metric_learning,
        "auto": ours("auto"),
        "dense": ours("dense"),
        "tiled": ours("tiled"),
    }
    if device == "cuda":
        found |= {
            "compiled": torch.compile(dense_supcon, dynamic=False),
            "dense, compiled": torch.compile(dense, dynamic=False, fullgraph=True),
        }
        found |= {
            f"{name} (its own task)": loss
            for name, loss in TWO_TOWERS.items()
            if importlib.util.find_spec(name) is not None
        }
    if device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        found |= {"fused": ours("fused"), "fused, fast": ours("fused", "fast")}
        found |= {"fused, strips": fused(0), "fused, library": fused(2**62)}
    return found


def batch(size: int, dimension: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    views = torch.randn(size // 2, 2, dimension, generator=generator, device=device)
    return views.to(dtype), torch.arange(size // 2, device=device) % min(100, size // 8)


def once(loss: Callable[[Tensor, Tensor], Tensor], views: Tensor, labels: Tensor) -> float:
    """Seconds of one step."""
    leaf = views.detach().requires_grad_()
    if views.device.type != "cuda":
        start = time.process_time()
        loss(leaf, labels).backward()
        return time.process_time() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    loss(leaf, labels).backward()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def grown(loss: Callable[[Tensor, Tensor], Tensor], views: Tensor, labels: Tensor) -> float:
    """MiB that a step allocates at its peak."""
    if views.device.type != "cuda":
        return float("nan")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    once(loss, views, labels)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def is_the_usual(name: str, size: int, dimension: int) -> bool:
    """Whether one of the two paths of the fused gradient is taken anyway, or there is one path."""
    if name not in ("fused, strips", "fused, library"):
        return False
    usual = "fused, library" if size**2 <= evaluate.AT_ONCE else "fused, strips"
    return name == usual or dimension <= WIDEST


def row(size: int, dimension: int, dtype: torch.dtype, device: str, seconds: float) -> list[str]:
    """Lines of the table of one batch; whoever does not fit or run is shown with why."""
    views, labels = batch(size, dimension, dtype, device)
    runs, failed, memory = {}, {}, {}
    for name, loss in contenders(device).items():
        if size > (LARGEST | LARGEST_OURS).get(name, size) or is_the_usual(name, size, dimension):
            continue
        try:
            for _ in range(3):
                once(loss, views, labels)
            memory[name], runs[name] = grown(loss, views, labels), loss
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    taken: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    order = random.Random(0)
    while time.perf_counter() < end and min(map(len, taken.values()), default=60) < 60:
        for name in order.sample(list(runs), len(runs)):
            taken[name].append(once(runs[name], views, labels))
    kind = str(dtype).removeprefix("torch.")
    lines = []
    for name, times in taken.items():
        median = statistics.median(times)
        share = 6 * size**2 * dimension / median / PEAK[dtype]
        cells = [size, dimension, kind, name, f"{median * 1e3:.3f}", f"{share:.2f}"]
        lines.append([*cells, f"{memory[name]:.0f}", len(times)])
    lines += [[size, dimension, kind, name, why, "", "", 0] for name, why in failed.items()]
    return ["| " + " | ".join(map(str, cells)) + " |" for cells in lines]


def check(device: str, size: int) -> None:
    """Errors of value and gradient against float64, of each backend."""
    print("| backend | dtype | value | gradient, relative |\n|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        views, labels = batch(size, 128, dtype, device)
        exact = views.double().requires_grad_()
        expected = reference_supcl(exact, labels, alpha=0.5, temperature=0.1)
        expected.backward()
        known = contenders(device)
        for name in [name for name in ("dense", "tiled", "fused", "fused, fast") if name in known]:
            leaf = views.detach().requires_grad_()
            loss = known[name](leaf, labels)
            loss.backward()
            error = (leaf.grad.double() - exact.grad).norm() / exact.grad.norm()
            off = abs(loss.item() - expected.item())
            print(f"| {name} | {str(dtype)[6:]} | {off:.1e} | {error:.1e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 768])
    parser.add_argument("--seconds", type=float, default=200, help="of all measuring together")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        dry = "--device cpu --sizes 64 --dimensions 16 for a dry run"
        print(f"expected an NVIDIA GPU, found none: give {dry}", file=sys.stderr)
        sys.exit(2)
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}\n")
    check(given.device, min(1024, max(given.sizes)))
    print("\n| N | d | dtype | loss | ms | of peak | MiB | samples |\n|" + "---|" * 8)
    batches = [
        (size, dimension, dtype)
        for dimension in given.dimensions
        for dtype in (torch.float32, torch.bfloat16)
        for size in given.sizes
    ]
    for size, dimension, dtype in batches:
        lines = row(size, dimension, dtype, given.device, given.seconds / len(batches))
        print("\n".join(lines), flush=True)
    finish_checks()


if __name__ == "__main__":
    main()
