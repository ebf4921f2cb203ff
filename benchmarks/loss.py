"""Time and memory of the loss, side by side with what it replaces.

    python benchmarks/loss.py                                # the tables of docs/benchmarks-loss.md
    python benchmarks/loss.py --sizes 512 2048 --classes 10  # a part of them, in a minute
    python benchmarks/loss.py --device cuda --dtype bfloat16 # on a GPU
    python benchmarks/loss.py --threads 1 2 --busy 1         # while one process keeps a core busy

Forward and backward of a batch with two views and d = 128; medians of an interleaved series, so
that a change of the machine's speed meets all contenders and numbers of threads alike. With one
thread the time is CPU time, with more it is wall-clock time, for one thread too. Memory is the
growth of the peak resident set in a process of its own (on a GPU: of allocated memory). Tables go
to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse import losses

DIMENSION, VIEWS, TEMPERATURE = 128, 2, 0.1
PRODUCTS, PRODUCTS_REUSED = "three products", "three products, storage reused"
DENSE, PML = "dense, masked", "pytorch-metric-learning"
OURS = {
    "supcl_loss": lambda z, y: losses.supcl_loss(z, y, alpha=0.5, temperature=TEMPERATURE),
    "ssem_cifar_loss": lambda z, y: losses.ssem_cifar_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE
    ),
    "supcon_loss": lambda z, y: losses.supcon_loss(z, y, temperature=TEMPERATURE),
    "nt_xent_loss": lambda z, y: losses.nt_xent_loss(z, temperature=TEMPERATURE),
    "sincere_loss": lambda z, y: losses.sincere_loss(z, y, temperature=TEMPERATURE),
    "l_spread_loss": lambda z, y: losses.l_spread_loss(z, y, alpha=0.5, temperature=TEMPERATURE),
    "ssem_imagenet_loss": lambda z, y: losses.ssem_imagenet_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE
    ),
    "class_conditional_info_nce_loss": lambda z, y: losses.class_conditional_info_nce_loss(
        z, y, temperature=TEMPERATURE
    ),
}
# Others need N x N matrices, many of them: beyond this they take minutes or do not fit.
LARGEST_DENSE = 16384
LARGEST_PRODUCTS = 16384


def dense_supcon(views: Tensor, labels: Tensor) -> Tensor:
    """SupCon as public repositories write it: masks over the whole similarity matrix."""
    z = normalize(views.flatten(0, 1), dim=1)
    labels = labels.repeat_interleave(views.shape[1])
    same_class = (labels[:, None] == labels[None, :]).float()
    not_self = torch.ones_like(same_class).fill_diagonal_(0)
    positives = same_class * not_self
    logits = z @ z.T / TEMPERATURE
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    log_probabilities = logits - (logits.exp() * not_self).sum(1, keepdim=True).log()
    return -((positives * log_probabilities).sum(1) / positives.sum(1)).mean()


def metric_learning(views: Tensor, labels: Tensor) -> Tensor:
    criterion = SupConLoss(temperature=TEMPERATURE)
    return criterion(views.flatten(0, 1), labels.repeat_interleave(views.shape[1]))


def three_products(z: Tensor, storage: Tensor | None) -> None:
    """The matrix products of a dense loss's forward and backward pass, and nothing else."""
    similarities = torch.mm(z, z.T, out=storage) if storage is not None else z @ z.T
    gradient = similarities @ z
    gradient += similarities.T @ z


def contenders(views: Tensor, labels: Tensor, names: list[str]) -> dict[str, Callable[[], None]]:
    def trained(loss_of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        def step() -> None:
            leaf = views.detach().requires_grad_()
            loss_of(leaf, labels).backward()

        return step

    size = views.shape[0] * views.shape[1]
    steps = {}
    if size <= LARGEST_PRODUCTS:
        z = normalize(views.flatten(0, 1), dim=1)
        storage = z.new_empty(size, size)
        steps[PRODUCTS] = lambda: three_products(z, None)
        steps[PRODUCTS_REUSED] = lambda: three_products(z, storage)
    if size <= LARGEST_DENSE:
        steps[DENSE] = trained(dense_supcon)
        steps[PML] = trained(metric_learning)
    steps |= {name: trained(loss_of) for name, loss_of in OURS.items()}
    return {name: step for name, step in steps.items() if not names or name in names}


def batch(size: int, classes: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    instances = size // VIEWS
    views = torch.randn(instances, VIEWS, DIMENSION, generator=generator)
    labels = torch.randint(0, classes, (instances,), generator=generator)
    return views.to(device, dtype), labels.to(device)


def timed(step: Callable[[], None], device: str, clock: Callable[[], float]) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


@contextlib.contextmanager
def spinners(count: int) -> Iterator[None]:
    """Other processes that keep a core busy each."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def series(arguments: argparse.Namespace, size: int, classes: int) -> dict[int, dict[str, float]]:
    """Median seconds by number of threads and contender; slow ones run as often as time allows."""
    dtype = getattr(torch, arguments.dtype)
    torch.set_num_threads(1)
    steps = contenders(*batch(size, classes, arguments.device, dtype), arguments.only)
    by_cpu_time = arguments.threads == [1] and arguments.device == "cpu" and not arguments.wall
    clock = time.process_time if by_cpu_time else time.perf_counter
    runs = [(threads, name) for threads in arguments.threads for name in steps]
    taken: dict[tuple[int, str], list[float]] = {run: [] for run in runs}
    spent = dict.fromkeys(runs, 0.0)
    order = random.Random(0)
    for round_number in range(arguments.repeats + 1):
        # Whoever runs after a contender that returns much memory pays for it: shuffle.
        for threads, name in order.sample(runs, len(runs)):
            run = threads, name
            if len(taken[run]) >= 1 and spent[run] > arguments.seconds:
                continue
            torch.set_num_threads(threads)
            try:
                duration = timed(steps[name], arguments.device, clock)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                spent[run] = float("inf")
                taken[run] = [float("nan")]
                continue
            spent[run] += duration
            # The first round warms up; what takes long needs no warming and counts at once.
            if round_number or duration > arguments.seconds / 3:
                taken[run].append(duration)
        print(f"N={size} classes={classes} round {round_number}", file=sys.stderr)
    medians: dict[int, dict[str, float]] = {threads: {} for threads in arguments.threads}
    for (threads, name), values in taken.items():
        if values:
            medians[threads][name] = statistics.median(values)
    return medians


def memory_here(name: str, size: int, classes: int, device: str, dtype: str) -> float:
    """Peak memory growth in MiB of one step, in this process, which has done nothing else."""
    torch.set_num_threads(1)
    contenders(*batch(64, 2, device, getattr(torch, dtype)), [name])[name]()
    step = contenders(*batch(size, classes, device, getattr(torch, dtype)), [name])[name]
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Forget the peak so far.
    before = peak_resident_kib()
    step()
    return (peak_resident_kib() - before) / 2**10


def peak_resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def memory(name: str, size: int, classes: int, arguments: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--memory-of", name, "--sizes", str(size)]
    command += ["--classes", str(classes)]
    command += ["--device", arguments.device, "--dtype", arguments.dtype]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(answer.stdout) if answer.returncode == 0 else float("nan")


def show(title: str, times: dict[str, float], sizes: dict[str, float]) -> None:
    print(f"\n### {title}\n")
    print("| | time | of three products | of the same, storage reused | peak memory growth |")
    print("|---|---|---|---|---|")
    for name, seconds in times.items():
        ratios = [
            f"{seconds / times[base]:.2f}" if base in times else "-"
            for base in (PRODUCTS, PRODUCTS_REUSED)
        ]
        grown = f"{sizes[name]:.0f} MiB" if name in sizes else "-"
        print(f"| {name} | {1e3 * seconds:.1f} ms | {ratios[0]} | {ratios[1]} | {grown} |")
    for rival in (DENSE, PML):
        if rival in times and "supcl_loss" in times:
            faster = times[rival] / times["supcl_loss"]
            print(f"\n`supcl_loss` is {faster:.1f} times as fast as {rival}.")


def machine(arguments: argparse.Namespace) -> str:
    if arguments.device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{models[0] if models else name}, {len(models)} cores, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048, 8192, 16384, 65536])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16"], default="float32")
    parser.add_argument("--only", nargs="+", default=[], help="contenders; all without it")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=8.0, help="per contender and setting")
    parser.add_argument("--wall", action="store_true", help="wall-clock time for one thread too")
    parser.add_argument("--busy", type=int, default=0, help="processes that spin meanwhile")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON object per setting")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        size, classes = arguments.sizes[0], arguments.classes[0]
        name = arguments.memory_of
        print(memory_here(name, size, classes, arguments.device, arguments.dtype))
        return
    if not arguments.json:
        print(machine(arguments) + f", {arguments.dtype}")
    for size in arguments.sizes:
        for classes in arguments.classes:
            with spinners(arguments.busy):
                medians = series(arguments, size, classes)
            for threads, times in medians.items():
                grown = {}
                if not arguments.no_memory and threads == arguments.threads[0]:
                    measured = [name for name in times if name != PRODUCTS_REUSED]
                    grown = {name: memory(name, size, classes, arguments) for name in measured}
                setting = {"size": size, "classes": classes, "threads": threads}
                setting["busy"] = arguments.busy
                if arguments.json:
                    print(json.dumps({**setting, "seconds": times, "mebibytes": grown}))
                else:
                    title = f"N = {size}, {classes} classes, {threads} thread(s)"
                    show(
                        title + f", {arguments.busy} spinning" * bool(arguments.busy), times, grown
                    )


if __name__ == "__main__":
    main()
