"""What every run of a pilot imports: some seconds, spent once in the server that forks workers."""

from __future__ import annotations

import importlib
from contextlib import suppress

for name in (
    "uncollapse.pilot.jobs",
    "lightning_fabric",
    "timm.scheduler.cosine_lr",
    "sklearn.linear_model",
    "sklearn.datasets",
    "pyarrow.parquet",
    "kornia.augmentation",
):
    # One that is missing is told of by the run that needs it.
    with suppress(ImportError):
        importlib.import_module(name)
