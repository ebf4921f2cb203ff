"""One thread per process, set before numpy or torch are imported."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# A width that the caller's terminal, or a runner of several processes, has exported is not ours.
os.environ.pop("COLUMNS", None)
