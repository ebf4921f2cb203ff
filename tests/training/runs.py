"""A small run on real digits, and a script that runs it in a process of its own."""

import sys
from pathlib import Path

from uncollapse.training import build_problem, parse_config, train

BLOCK = {
    "data": {"source": "digits", "map": "parity", "limit": 700},
    "views": {"augmentation": "weak", "flip": False},
    "batch": {"size": 64},
    "encoder": {"kind": "convnet", "widths": [8, 16], "norm": "group"},
    "head": {"dimension": 16, "norm": "none"},
    "loss": {"alpha": 0.2, "temperature": 0.1},
    "optimiser": {"learning_rate": 0.05, "warmup_epochs": 1},
    "epochs": 3,
    "device": "cpu",
}


def problem_of(**changes):
    return build_problem(parse_config({**BLOCK, **changes}))


def main(output, *options):
    """Train to a folder; "kill=N" kills the process after N steps, "stop=N" asks its whole group
    to stop then, "resume" goes on, "workers" reads ahead, "keep:NAME" keeps a reference."""
    import os
    import signal

    import torch

    torch.set_num_threads(1)
    at = {
        key: int(value) for key, _, value in (option.partition("=") for option in options) if value
    }

    def progress(step):
        if step.done == at.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step.done == at.get("stop"):
            os.killpg(os.getpgid(0), signal.SIGTERM)

    workers = 1 if "workers" in options else 0
    kept = [option.removeprefix("keep:") for option in options if option.startswith("keep:")]
    loss = BLOCK["loss"] | ({"keep": 1.0, "reference": kept[0]} if kept else {})
    problem = problem_of(checkpoint={"every_steps": 3}, workers=workers, loss=loss)
    train(problem, Path(output), resume="resume" in options, progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
