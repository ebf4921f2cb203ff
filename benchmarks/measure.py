"""What `uncollapse measure` costs: one call on arrays, and one pass over 5 GB of files.

Each also with a reference, another embedding of the same rows and dimension.

    python benchmarks/measure.py [--wide] [--rows N] [--classes C] [--folder DIR]
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


def calls(wide: bool) -> None:
    from uncollapse.metrics import measure

    shapes = [(50_000, DIMENSION, 100)]
    if wide:
        shapes += [(20_000, 2048, 100), (20_000, 2048, 4)]
    for count, dimension, classes in shapes:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, classes, count)
        rows = np.eye(classes, dimension, dtype=np.float32)[labels]
        rows += 0.05 * rng.standard_normal(rows.shape, dtype=np.float32)
        reference = rows + 0.05 * rng.standard_normal(rows.shape, dtype=np.float32)
        measure(rows[:2000], labels[:2000], permutations=0)
        for permutations in (0, 20):
            series: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(5):  # in turn: a machine is busy for a while, or is not
                for beside, seconds in series.items():
                    start = time.process_time()
                    other = reference if beside else None
                    measure(rows, labels, reference=other, permutations=permutations)
                    seconds.append(time.process_time() - start)
            alone, both = (statistics.median(series[beside]) for beside in (False, True))
            print(
                f"measure {count:,} x {dimension}, {classes} classes, {permutations} permutations:"
                f" {alone:.2f} s CPU, with a reference {both:.2f} s, {both / alone:.2f} times"
            )


def wide_reference(count: int = 20_000, dimension: int = 768, classes: int = 10) -> None:
    """A reference of more dimensions than the embedding has, beside each of the two alone."""
    from uncollapse.metrics import measure

    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    reference = rng.standard_normal((count, dimension), dtype=np.float32)
    rows = reference[:, :DIMENSION] + rng.standard_normal((count, DIMENSION), dtype=np.float32)
    calls = {"embedding": (rows, None), "reference": (reference, None), "both": (rows, reference)}
    series: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3):
        for name, (measured, beside) in calls.items():
            start = time.process_time()
            measure(measured, labels, reference=beside)
            series[name].append(time.process_time() - start)
    alone, other, both = (statistics.median(found) for found in series.values())
    print(
        f"measure {count:,} x {DIMENSION}, {classes} classes: {alone:.2f} s CPU; its reference of"
        f" {dimension} alone {other:.2f} s; with it {both:.2f} s"
    )


def write(folder: Path, rows: int, classes: int, kind: str, shards: int = 10) -> None:
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
            np.save(folder / "reference" / f"embeddings-{shard:02}.npy", matrix[::-1])
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


def many_rows(rows: int, classes: int, where: Path | None, kind: str, repeats: int) -> None:
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        write(folder, rows, classes, kind)
        size = sum(path.stat().st_size for path in folder.glob("*.*")) / 1e9
        print(f"{rows:,} x {DIMENSION} float32, {classes} classes, {size:.2f} GB of {kind}:")
        series: dict[str, list[tuple[float, ...]]] = {job: [] for job in JOBS}
        for _ in range(repeats):
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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--format", choices=("npy", "parquet"), default="npy")
    parser.add_argument("--wide", action="store_true", help="calls of 2048 dimensions too")
    parser.add_argument("--child", choices=tuple(JOBS), default=None)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.folder)
        return
    calls(given.wide)
    wide_reference()
    many_rows(given.rows, given.classes, given.folder, given.format, given.repeats)


if __name__ == "__main__":
    main()
