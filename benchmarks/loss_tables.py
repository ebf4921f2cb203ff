"""The tables of docs/benchmarks-loss.md from what benchmarks/loss.py has measured."""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTS, PRODUCTS_REUSED = "three products", "three products, storage reused"
DENSE, PML = "dense, masked", "pytorch-metric-learning"
OTHERS = (PRODUCTS, PRODUCTS_REUSED, DENSE, PML)
BASE = "supcl_loss"
# Looks at own classes only, so at a fraction of the matrix.
PARTIAL = "class_conditional_info_nce_loss"


@dataclass
class Timing:
    """One batch size, number of classes and threads.

    Attributes:
        busy: Processes that spun meanwhile.
        seconds: Median time of each contender.
        samples: How many it is the median of.
        mebibytes: Peak memory growth.
        compares_threads: Whether other numbers of threads were in the same series, by wall clock.
    """

    size: int
    classes: int
    threads: int
    busy: int
    seconds: dict[str, float]
    samples: dict[str, int]
    mebibytes: dict[str, float]
    compares_threads: bool = False


def tables(timings: list[Timing]) -> str:
    """Markdown, one table per question, without those that nothing was measured for."""
    compared = [
        timing for timing in timings if not timing.compares_threads and BASE in timing.seconds
    ]
    presets = [timing for timing in compared if len(ours(timing.seconds)) > 1]
    memory = [timing for timing in timings if timing.mebibytes]
    threads = [timing for timing in timings if timing.compares_threads]
    parts = [
        ("Time, one thread", time_table(compared)),
        ("All losses and conventions, as a multiple of `supcl_loss`", preset_table(presets)),
        ("Peak memory growth", memory_table(memory)),
        (
            "Two threads, wall-clock time",
            thread_table(threads),
        ),
    ]
    return "\n".join(f"\n## {title}\n\n{table}" for title, table in parts if table)


def ours(values: dict[str, float]) -> list[str]:
    return [name for name in values if name not in OTHERS]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def shown(seconds: float | None) -> str:
    if seconds is None or seconds != seconds or seconds == float("inf"):
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def ratio(values: dict[str, float], name: str, other: str, digits: int = 2) -> str:
    if name not in values or other not in values or values[name] == float("inf"):
        return "-"
    return f"{values[name] / values[other]:.{digits}f}"


def time_table(timings: list[Timing]) -> str:
    header = ["N", "classes", "three products", "storage reused", *OTHERS[2:], f"`{BASE}`"]
    header += ["of three products", "of the same, storage reused", "dense / ours", "PML / ours"]
    header += ["samples: dense, PML, ours"]
    rows = []
    for timing in timings:
        times = timing.seconds
        row = [str(timing.size), str(timing.classes)]
        row += [shown(times.get(name)) for name in (*OTHERS, BASE)]
        row += [ratio(times, BASE, PRODUCTS), ratio(times, BASE, PRODUCTS_REUSED)]
        row += [ratio(times, DENSE, BASE, 1), ratio(times, PML, BASE, 1)]
        row += [", ".join(str(timing.samples.get(name, "-")) for name in (DENSE, PML, BASE))]
        rows.append(row)
    return markdown(header, rows)


def preset_table(timings: list[Timing]) -> str:
    names = list(dict.fromkeys(name for timing in timings for name in ours(timing.seconds)))
    header = ["N", "classes", BASE, *names[1:], "slowest / fastest"]
    rows = []
    for timing in timings:
        whole = [timing.seconds[name] for name in ours(timing.seconds) if name != PARTIAL]
        row = [str(timing.size), str(timing.classes), shown(timing.seconds[BASE])]
        row += [ratio(timing.seconds, name, BASE) for name in names[1:]]
        rows.append([*row, f"{max(whole) / min(whole):.2f}"])
    return markdown(header, rows)


def memory_table(timings: list[Timing]) -> str:
    header = ["N", "classes", f"`{BASE}`", "largest of our losses", PRODUCTS, DENSE, PML]
    rows = []
    for timing in timings:
        grown = timing.mebibytes
        largest = max((grown[name] for name in ours(grown)), default=None)
        values = [grown.get(BASE), largest, *(grown.get(name) for name in (PRODUCTS, DENSE, PML))]
        cells = ["-" if value is None else f"{value:.0f} MiB" for value in values]
        rows.append([str(timing.size), str(timing.classes), *cells])
    return markdown(header, rows)


def thread_table(timings: list[Timing]) -> str:
    header = ["loss", "spinning", "N", "one thread", "two threads", "two / one", "samples"]
    rows = []
    keyed = {(t.size, t.classes, t.threads, t.busy): t for t in timings}
    for (size, classes, threads, busy), two in keyed.items():
        single = keyed.get((size, classes, 1, busy))
        if threads != 2 or single is None:
            continue
        for name, seconds in two.seconds.items():
            times = [
                shown(single.seconds[name]),
                shown(seconds),
                f"{seconds / single.seconds[name]:.2f}",
            ]
            samples = f"{single.samples[name]}, {two.samples[name]}"
            rows.append([f"`{name}`", str(busy), str(size), *times, samples])
    return markdown(header, rows)
