"""What `uncollapse measure` costs: one call on arrays, and one pass over 5 GB of files.

Each also with a reference, another embedding of the same rows; `--wide` with wider ones, and with
streams of arrays.

    python benchmarks/measure.py [--wide] [--rows N] [--classes C] [--beside E] [--folder DIR]
        [--format npy|parquet]

Prints CPU seconds of one thread and wall seconds (medians of interleaved runs) and the largest
resident memory of the process that measures. Two baselines read the same files and sum columns,
with numpy for npy and with pyarrow and numpy for parquet.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DIMENSION = 128
BATCH = 65536


def pair(rows: int, widths: tuple[int, int], classes: int) -> tuple[np.ndarray, ...]:
    """Embeddings that keep a part of a reference, the reference, and labels."""
    d, e = widths
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    reference = np.empty((rows, e), dtype=np.float32)
    for start in range(0, rows, BATCH):
        part = reference[start : start + BATCH]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    reference += rng.standard_normal((classes, e), dtype=np.float32)[labels]
    kept = rng.standard_normal((e, d), dtype=np.float32) / np.float32(e**0.5)
    return reference @ kept, reference, labels


def calls(shapes: list[tuple[int, int, int, int]]) -> None:
    """`measure` with a reference and without: rows, both widths, classes."""
    from uncollapse.metrics import measure

    for rows, d, e, classes in shapes:
        embeddings, reference, labels = pair(rows, (d, e), classes)
        measure(embeddings[:2000], np.arange(2000) % 2, reference=reference[:2000])
        for permutations in (0, 20):
            series: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(3 if d > 1000 else 5):  # in turn: a machine is busy for a while
                for beside, seconds in series.items():
                    other = reference if beside else None
                    start = time.process_time()
                    found = measure(embeddings, labels, reference=other, permutations=permutations)
                    seconds.append(time.process_time() - start)
            alone, both = (statistics.median(series[beside]) for beside in (False, True))
            used = found.reference.rows if found.reference is not None else 0
            print(
                f"measure {rows:,} x {d} beside {e}, {classes} classes, {permutations}"
                f" permutations: {alone:.2f} s CPU, with the reference {both:.2f} s,"
                f" {both / alone:.2f} times; from {used:,} rows",
                flush=True,
            )


def updates(shapes: list[tuple[int, int, int, int]], batch: int = 16384) -> None:
    """An `Accumulator` of arrays, with a reference and without."""
    from uncollapse.metrics import Accumulator

    for rows, d, e, classes in shapes:
        embeddings, reference, labels = pair(batch, (d, e), classes)
        streams = {beside: Accumulator("blocks") for beside in (False, True)}
        seconds = dict.fromkeys(streams, 0.0)
        for _ in range(rows // batch):
            embeddings[:, 0] += 0.01  # no copies
            reference = np.roll(reference, 1, axis=1)
            for beside, stream in streams.items():
                start = time.process_time()
                stream.update(embeddings, labels, reference=reference if beside else None)
                seconds[beside] += time.process_time() - start
        for beside, stream in streams.items():
            start = time.process_time()
            found = stream.measurement()
            seconds[beside] += time.process_time() - start
        alone, both = seconds[False], seconds[True]
        used = found.reference.rows if found.reference is not None else 0
        print(
            f"stream {rows:,} x {d} beside {e}, {classes} classes: {alone:.2f} s CPU, with the"
            f" reference {both:.2f} s, {both / alone:.2f} times; from {used:,} rows",
            flush=True,
        )


SHAPES = [(50_000, DIMENSION, DIMENSION, 100), (20_000, DIMENSION, 768, 10)]
WIDE = [
    (2_000, DIMENSION, 2048, 4),
    (2_000, DIMENSION, 768, 100),
    (5_000, DIMENSION, 768, 10),
    (20_000, DIMENSION, 1280, 4),
    (20_000, DIMENSION, 2048, 10),
    (20_000, DIMENSION, 2048, 100),
    (20_000, DIMENSION, 2048, 1000),
    (20_000, 512, 512, 10),
    (200_000, DIMENSION, DIMENSION, 10),
    (200_000, DIMENSION, 768, 10),
    (200_000, DIMENSION, 2048, 100),
    (20_000, 2048, 2048, 100),
    (20_000, 2048, 2048, 4),
]
STREAMS = [(1 << 20, DIMENSION, e, classes) for e in (DIMENSION, 768, 2048) for classes in (4, 100)]


def write(folder: Path, rows: int, classes: int, kind: str, beside: int) -> None:
    shards = 10
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, DIMENSION), dtype=np.float32)
    for shard in range(shards):
        count = rows // shards
        labels = rng.integers(0, classes, count)
        matrix = np.empty((count, DIMENSION), dtype=np.float32)
        for start in range(0, count, BATCH):
            part = labels[start : start + BATCH]
            matrix[start : start + BATCH] = centres[part]
            matrix[start : start + BATCH] += rng.standard_normal(
                (len(part), DIMENSION), dtype=np.float32
            )
        if kind == "npy":
            np.save(folder / f"embeddings-{shard:02}.npy", matrix)
            # What is read in another file costs the same whatever stands in it.
            (folder / "reference").mkdir(exist_ok=True)
            other = np.resize(matrix[::-1], (count, beside))
            np.save(folder / "reference" / f"embeddings-{shard:02}.npy", other)
            np.save(folder / f"labels-{shard:02}.npy", labels)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), DIMENSION)
            table = pa.table({"embedding": column, "label": labels})
            table = table.append_column("other", column.take(pa.array(np.arange(count)[::-1])))
            pq.write_table(table, folder / f"part-{shard:02}.parquet", row_group_size=BATCH)


def sum_shards(folder: Path) -> None:
    """A baseline: load each shard, sum its columns in float64 as the measurement does."""
    for path in sorted(folder.glob("embeddings-*.npy")):
        np.load(path).sum(axis=0, dtype=np.float64)
    for path in sorted(folder.glob("*.parquet")):
        import pyarrow.parquet as pq

        column = pq.read_table(path, columns=["embedding"], use_threads=False)["embedding"]
        for chunk in column.chunks:
            chunk.flatten().to_numpy().reshape(-1, DIMENSION).sum(axis=0, dtype=np.float64)


def sum_parts(folder: Path) -> None:
    """A harder one: read in parts that stay in the cache, sum in float32 (and lose digits)."""
    total = np.zeros(DIMENSION)
    for path in sorted(folder.glob("embeddings-*.npy")):
        mapped = np.load(path, mmap_mode="r")
        shape, offset = mapped.shape, mapped.offset
        with path.open("rb") as file:
            file.seek(offset)
            for start in range(0, shape[0], BATCH):
                count = min(BATCH, shape[0] - start)
                part = np.fromfile(file, dtype=np.float32, count=count * DIMENSION)
                total += part.reshape(-1, DIMENSION).sum(axis=0)
    for path in sorted(folder.glob("*.parquet")):
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(BATCH, use_threads=False):
            flat = batch.column("embedding").flatten().to_numpy()
            total += flat.reshape(-1, DIMENSION).sum(axis=0)


def stream(folder: Path, *, reference: bool = False) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from uncollapse.metrics import Columns, measure_files
    from uncollapse.tables import ReferenceFiles

    embeddings = sorted(folder.glob("embeddings-*.npy")) or sorted(folder.glob("*.parquet"))
    # Of npy files the reference lies in others; of parquet in another column.
    column, other = "embedding", ReferenceFiles(reference_embedding="other")
    if (folder / "reference").exists():
        column, other = None, ReferenceFiles(folder / "reference")
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring")
        found = measure_files(
            embeddings,
            labels_from=sorted(folder.glob("labels-*.npy")),
            columns=Columns(embedding=column),
            reference=other if reference else None,
            stream=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(found.verdict, found.within_class_variance, file=sys.stderr)


def stream_beside(folder: Path) -> None:
    stream(folder, reference=True)


def child(job: str, folder: Path) -> None:
    """One run in its own process; prints CPU, wall and peak memory."""
    if job.startswith("stream"):
        import uncollapse.metrics  # noqa: F401  (imports are not what is timed)
    cpu, wall = time.process_time(), time.perf_counter()
    JOBS[job](folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(cpu, wall, peak)


JOBS = {
    "sum shards": sum_shards,
    "sum parts": sum_parts,
    "stream": stream,
    "stream with a reference": stream_beside,
}


def many_rows(given: argparse.Namespace) -> None:
    rows, classes, kind = given.rows, given.classes, given.format
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write(folder, rows, classes, kind, given.beside)
        size = sum(path.stat().st_size for path in folder.glob("*.*")) / 1e9
        print(f"{rows:,} x {DIMENSION} float32, {classes} classes, {size:.2f} GB of {kind}:")
        series: dict[str, list[tuple[float, ...]]] = {job: [] for job in JOBS}
        for _ in range(given.repeats):
            for job, found in series.items():
                command = [sys.executable, __file__, "--child", job, "--folder", name]
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(tuple(float(x) for x in answer.stdout.split()))
        middle = {
            job: [statistics.median(column) for column in zip(*found, strict=True)]
            for job, found in series.items()
        }
        for job, (cpu, wall, memory) in middle.items():
            print(f"  {job}: {cpu:.2f} s CPU, {wall:.2f} s wall, peak memory {memory:.0f} MiB")
        for job in ("sum shards", "sum parts"):
            ratio = [middle[job][k] / middle["stream"][k] for k in (0, 1)]
            print(f"  stream, relative to {job}: {ratio[0]:.2f} (CPU), {ratio[1]:.2f} (wall)")
        ratio = [middle["stream with a reference"][k] / middle["stream"][k] for k in (0, 1)]
        print(f"  with a reference: {ratio[0]:.2f} times the CPU, {ratio[1]:.2f} times the wall")


def one_thread() -> None:
    """Start again with one thread per process: libraries read these when they are loaded."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    if any(os.environ.get(name) != "1" for name in names):
        os.environ.update(dict.fromkeys(names, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    one_thread()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--beside", type=int, default=DIMENSION, help="of the reference of npy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--format", choices=("npy", "parquet"), default="npy")
    parser.add_argument("--wide", action="store_true", help="references up to 2048 wide too")
    parser.add_argument("--child", choices=tuple(JOBS), default=None)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.folder)
        return
    calls(SHAPES + WIDE * given.wide)
    if given.wide:
        updates([*((1 << 18, DIMENSION, e, 10) for e in (768, 2048)), *STREAMS])
    many_rows(given)


if __name__ == "__main__":
    main()
