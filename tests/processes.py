"""Several processes for one test, forked from one that has loaded what they need."""

import torch.multiprocessing as multiprocessing

# A process that is spawned loads these anew, which takes longer than what it is started for.
LOADED = [
    "pytest",
    "sklearn.datasets",
    "torch.distributed.algorithms.join",
    "torch.distributed.nn",
    "torch.nn.parallel",
    "uncollapse.adapters.metric_learning",
    "uncollapse.adapters.sentences",
    "uncollapse.losses.module",
    "uncollapse.monitor.metric",
]


def run_in_processes(function, arguments, count):
    """Call function(rank, *arguments) in so many processes at once, and raise what one raises."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    multiprocessing.start_processes(function, arguments, nprocs=count, start_method="forkserver")
