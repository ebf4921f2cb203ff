"""Jobs on a Ray cluster, for pilots that outgrow one machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from uncollapse.errors import InputError
from uncollapse.pilot.jobs import Job, StoppedError, read_result, run_job
from uncollapse.pilot.pool import Ended, Outcome


def on_ray(jobs: Sequence[Job], workers: int, ended: Ended) -> list[Outcome]:
    """Run jobs as trials of Ray Tune, one CPU each, on the cluster that is there or a local one.

    The pilot's folder must be one that every machine sees, as results are files in it.

    Args:
        jobs: What to run.
        workers: Trials at a time.
        ended: Called with every job that ended.
    """
    try:
        import ray
        from ray import tune
    except ImportError as error:
        raise InputError(
            "Ray", f"an environment without {error.name}", "pip install 'uncollapse[ray]'"
        ) from error
    left = [number for number, job in enumerate(jobs) if read_result(job) is None]
    reasons: dict[int, str] = {}
    if left:
        if not ray.is_initialized():
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, jobs=list(jobs)), {"cpu": 1}),
            param_space={"number": tune.grid_search(left)},
            tune_config=tune.TuneConfig(max_concurrent_trials=workers),
            run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
        )
        fitted: Any = tuner.fit()
        for number, result in zip(left, list(fitted), strict=True):
            reason = str(result.error) if result.error else (result.metrics or {}).get("reason")
            reasons[number] = reason or "it left no result"
    outcomes = []
    for number, job in enumerate(jobs):
        result = read_result(job)
        outcomes.append(Outcome(result, None if result is not None else reasons[number]))
        ended(job)
    return outcomes


def _trial(config: dict[str, int], jobs: Sequence[Job]) -> dict[str, Any]:
    """One job on one thread of a Ray worker."""
    import torch

    torch.set_num_threads(1)
    try:
        run_job(jobs[config["number"]])
    except (InputError, StoppedError) as error:
        return {"ended": 1, "reason": str(error)}
    return {"ended": 1}
