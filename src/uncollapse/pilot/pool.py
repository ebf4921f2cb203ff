"""Jobs on processes of one thread each, which may be killed, or on a Ray cluster.

The process pool is the standard library's. What it lacks is here: workers that end with their
parent however it ends, and a pool that is made anew when one of them was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Generic

import torch

from uncollapse.errors import InputError
from uncollapse.pilot.work import R, StoppedError, Work

# A job whose process died this often is given up.
MOST_DEATHS = 3
# What every run imports: some seconds, spent once in the server that forks workers. It passes over
# one that is missing; the run that needs it tells of it.
PRELOADED = [
    "uncollapse.pilot.jobs",
    "lightning_fabric",
    "timm.scheduler.cosine_lr",
    "sklearn.linear_model",
    "sklearn.datasets",
    "pyarrow.parquet",
    "kornia.augmentation",
]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Ended = Callable[[Any], None]  # Called with a job that ended.


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What a job came to: a result, or the reason why there is none."""

    result: R | None
    reason: str | None = None


def on_processes(jobs: Sequence[Work[R]], workers: int, ended: Ended) -> list[Outcome[R]]:
    """Run jobs, each at most once at a time; outcomes in the order of the jobs.

    When the parent is interrupted, runs under way have saved their state.
    """
    outcomes: dict[int, Outcome[R]] = {}
    deaths = [0] * len(jobs)

    def end(number: int, outcome: Outcome[R]) -> None:
        outcomes[number] = outcome
        ended(jobs[number])

    for number, job in enumerate(jobs):
        if (result := job.read()) is not None:
            end(number, Outcome(result))
    _await_orphans(jobs)
    while len(outcomes) < len(jobs):
        left = {number: job for number, job in enumerate(jobs) if number not in outcomes}
        try:
            _one_pool(left, workers, end)
        except BrokenProcessPool:
            for number, job in left.items():
                if number in outcomes or not job.mark.exists():
                    continue
                job.mark.unlink(missing_ok=True)
                deaths[number] += 1
                if deaths[number] == MOST_DEATHS:
                    end(number, Outcome(None, f"its process died {MOST_DEATHS} times"))
    return [outcomes[number] for number in range(len(jobs))]


def _one_pool(
    left: dict[int, Work[R]], workers: int, end: Callable[[int, Outcome[R]], None]
) -> None:
    """Run until all have ended or a worker is killed."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    pool = ProcessPoolExecutor(min(workers, len(left)), mp_context=_context(), initializer=_begin)
    try:
        running = {pool.submit(_work, job): number for number, job in left.items()}
        for future in as_completed(running):
            end(running[future], _outcome(future))
        pool.shutdown()
    except (KeyboardInterrupt, BrokenProcessPool) as error:
        if isinstance(error, KeyboardInterrupt):
            for worker in multiprocessing.active_children():
                worker.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _context() -> BaseContext:
    """How workers are made: forked from a server that ran nothing but imports, where it can be."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _work(job: Work[R]) -> R:
    """The job's result; a worker that was asked to stop ends once the run has saved its state."""
    try:
        return job.run()
    except StoppedError:
        os._exit(1)


def _outcome(future: Future[R]) -> Outcome[R]:
    try:
        return Outcome(future.result())
    except InputError as error:
        return Outcome(None, str(error))
    except BrokenProcessPool:
        raise
    except Exception as error:
        return Outcome(None, f"{type(error).__name__}: {error}")


def _begin() -> None:
    """Of a worker: one thread; Ctrl-C is the parent's, and the worker ends with the parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _await_orphans(jobs: Sequence[Work[Any]]) -> None:
    """Wait for workers of a pilot that was killed: they end within a second of it."""
    deadline = time.monotonic() + 5
    for job in jobs:
        while job.mark.exists() and time.monotonic() < deadline and _lives(job):
            time.sleep(0.1)
        job.mark.unlink(missing_ok=True)


def _lives(job: Work[Any]) -> bool:
    try:
        os.kill(int(job.mark.read_text(encoding="utf-8")), 0)
    except (OSError, ValueError):
        return False
    return True


def on_ray(jobs: Sequence[Work[R]], workers: int, ended: Ended) -> list[Outcome[R]]:
    """Run jobs as tasks of Ray, one CPU each, on the cluster that is there or a local one.

    The pilot's folder must be one that every machine sees, as results are files in it. Ray runs a
    job again whose worker was lost, and keeps workers, which have imported everything, for others.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "Ray", f"an environment without {error.name}", "pip install 'uncollapse[ray]'"
        ) from error
    left = [number for number, job in enumerate(jobs) if job.read() is None]
    for number in set(range(len(jobs))) - set(left):
        ended(jobs[number])
    if left and not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    task: Any = ray.remote(num_cpus=1, max_retries=MOST_DEATHS - 1)(_task)
    reasons: dict[int, str] = {}
    waiting: dict[Any, int] = {}
    while left or waiting:
        while left and len(waiting) < workers:
            number = left.pop(0)
            waiting[task.remote(jobs[number])] = number
        (done, *_), _ = ray.wait(list(waiting))
        number = waiting.pop(done)
        try:
            reasons[number] = ray.get(done) or "it left no result"
        except ray.exceptions.RayError as error:
            reasons[number] = str(error)
        ended(jobs[number])
    results = [job.read() for job in jobs]
    return [
        Outcome(result, None if result is not None else reasons[number])
        for number, result in enumerate(results)
    ]


def _task(job: Work[Any]) -> str:
    """One job on one thread of a Ray worker; why it has no result, if it knows."""
    torch.set_num_threads(1)
    try:
        job.run()
    except (InputError, StoppedError) as error:
        return str(error)
    return ""
