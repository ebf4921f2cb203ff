"""Processes for one test, forked from one that has loaded what they need."""

import os
from collections.abc import Callable

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
    # What a training run loads when it begins.
    "kornia.augmentation",
    "lightning_fabric",
    "timm.scheduler.cosine_lr",
    "uncollapse.training",
]


def run_in_processes(function, arguments, count):
    """Call function(rank, *arguments) in so many processes at once, and raise what one raises."""
    _context()
    multiprocessing.start_processes(function, arguments, nprocs=count, start_method="forkserver")


def exit_code(function: Callable[..., object], *arguments: object) -> int:
    """Of a process in a session of its own that calls the function; negative for a signal."""
    process = _context().Process(target=_in_a_session, args=(function, *arguments))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _in_a_session(function, *arguments):
    os.setsid()
    function(*arguments)


def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context
