"""Time and memory of the loss, side by side with what it replaces.

    python benchmarks/loss.py                                # all of docs/benchmarks-loss.md
    python benchmarks/loss.py --sizes 512 2048 --classes 10  # a part of them, in a minute
    python benchmarks/loss.py --device cuda --dtype bfloat16 # on a GPU
    python benchmarks/loss.py --sizes 2048 --threads 1 2 --busy 1 --only supcl_loss

The first takes about 10 minutes and 12 GB. Forward and backward of a batch with two views and
d = 128; medians of an interleaved series, so that a change of the machine's speed meets all
contenders and numbers of threads alike. With one thread the time is CPU time, with more it is
wall-clock time, for one thread too. Memory is the growth of the peak resident set in a process of
its own (on a GPU: of allocated memory); what takes long there is timed there too. Tables go to
stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from loss_contenders import affordable, batch, contenders
from loss_tables import PRODUCTS_REUSED, Timing, tables

# What `python benchmarks/loss.py` measures: the settings of docs/benchmarks-loss.md.
PAGE = [
    {"sizes": [512, 2048, 8192, 16384]},
    {"sizes": [65536], "classes": [100], "repeats": 1},
    *(
        {
            "sizes": [512, 2048, 8192],
            "classes": [10],
            "threads": [1, 2],
            "busy": busy,
            "only": ["supcl_loss", "sincere_loss", "l_spread_loss"],
            "no_memory": True,
        }
        for busy in (0, 1)
    ),
]


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


def series(arguments: argparse.Namespace, given: Timing, size: int, classes: int) -> list[Timing]:
    """Median seconds by number of threads and contender; slow ones run as often as time allows."""
    dtype = getattr(torch, arguments.dtype)
    torch.set_num_threads(1)
    steps = contenders(*batch(size, classes, arguments.device, dtype), arguments.only)
    by_cpu_time = arguments.threads == [1] and arguments.device == "cpu" and not arguments.wall
    clock = time.process_time if by_cpu_time else time.perf_counter
    runs = [(threads, name) for threads in arguments.threads for name in steps]
    taken: dict[tuple[int, str], list[float]] = {run: [] for run in runs}
    if by_cpu_time:
        taken |= {(1, name): [seconds] for name, seconds in given.seconds.items()}
    order = random.Random(0)
    for round_number in range(arguments.repeats + 1):
        # Whoever runs after a contender that returns much memory pays for it: shuffle.
        for threads, name in order.sample(runs, len(runs)):
            run = threads, name
            if sum(taken[run]) > arguments.seconds:
                continue
            torch.set_num_threads(threads)
            try:
                duration = timed(steps[name], arguments.device, clock)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                taken[run] = [float("inf")]
                continue
            # The first round warms up; what takes long needs no warming and counts at once.
            if round_number or duration > arguments.seconds / 3:
                taken[run].append(duration)
        print(f"N={size} classes={classes} round {round_number}", file=sys.stderr)
    timings = []
    for threads in arguments.threads:
        times = {name: statistics.median(taken[threads, name]) for name in steps}
        counts = {name: len(taken[threads, name]) for name in steps}
        is_first = threads == arguments.threads[0]
        grown = given.mebibytes if is_first else {}
        compares = len(arguments.threads) > 1
        timings.append(
            Timing(size, classes, threads, arguments.busy, times, counts, grown, compares)
        )
    return timings


def alone(name: str, size: int, classes: int, device: str, dtype: str) -> tuple[float, float]:
    """CPU seconds and peak memory growth in MiB of one step, as the first one of its process."""
    torch.set_num_threads(1)
    contenders(*batch(64, 2, device, getattr(torch, dtype)), [name])[name]()
    step = contenders(*batch(size, classes, device, getattr(torch, dtype)), [name])[name]
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        seconds = timed(step, device, time.process_time)
        return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Forget the peak so far.
    before = peak_resident_kib()
    seconds = timed(step, device, time.process_time)
    return seconds, (peak_resident_kib() - before) / 2**10


def peak_resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def in_child(function: Callable[..., tuple[float, float]], *given: object) -> tuple[float, float]:
    """The function's result in a copy of this process, whose heap nothing has used yet."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        try:
            os.write(sending, json.dumps(function(*given)).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return tuple(json.loads(answer)) if answer else (float("nan"), float("nan"))


def memory(arguments: argparse.Namespace, size: int, classes: int) -> Timing:
    """Memory of every contender, and the time of those that take long."""
    timing = Timing(size, classes, 1, 0, {}, {}, {})
    if arguments.no_memory:
        return timing
    tiny = contenders(*batch(64, 2, "cpu", torch.float32), arguments.only)
    for name in [name for name in tiny if name in affordable(size)]:
        if name == PRODUCTS_REUSED:
            continue
        what = name, size, classes, arguments.device, arguments.dtype
        on_cpu = arguments.device == "cpu"
        try:
            seconds, grown = in_child(alone, *what) if on_cpu else alone(*what)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            continue
        timing.mebibytes[name] = grown
        if on_cpu and seconds > arguments.seconds / 3:
            timing.seconds[name] = seconds
        print(f"N={size} classes={classes} memory of {name}", file=sys.stderr)
    return timing


def machine(arguments: argparse.Namespace) -> str:
    if arguments.device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{models[0] if models else name}, {len(models)} cores, torch {torch.__version__}"


def measured(arguments: argparse.Namespace) -> list[Timing]:
    """All sizes and numbers of classes of one call."""
    settings = [(size, classes) for size in arguments.sizes for classes in arguments.classes]
    timings = []
    with spinners(arguments.busy):
        # Memory first: a child must not find a heap that earlier steps have left.
        grown = {setting: memory(arguments, *setting) for setting in settings}
        for setting in settings:
            timings += series(arguments, grown[setting], *setting)
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="without it, all tables of the page")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16"], default="float32")
    parser.add_argument("--only", nargs="+", default=[], help="contenders; all without it")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0, help="per contender and setting")
    parser.add_argument("--wall", action="store_true", help="wall-clock time for one thread too")
    parser.add_argument("--busy", type=int, default=0, help="processes that spin meanwhile")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON object per setting")
    arguments = parser.parse_args()
    parts = [{}] if arguments.sizes else PAGE
    if arguments.device == "cuda" and not arguments.sizes:
        parts = PAGE[:2]
    timings = []
    for part in parts:
        timings += measured(argparse.Namespace(**{**vars(arguments), **part}))
    if arguments.json:
        for timing in timings:
            print(json.dumps(vars(timing)))
    else:
        print(machine(arguments) + f", {arguments.dtype}")
        print(tables(timings))


if __name__ == "__main__":
    main()
