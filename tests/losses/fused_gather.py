"""The fused backend on several processes by Triton's interpreter, against one process.

TRITON_INTERPRET=1 python tests/losses/fused_gather.py
"""

import json
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from fused_table import given
from test_distributed import check_exchanges, spawn

from uncollapse.losses import SupCLLoss
from uncollapse.losses._engine.fused import evaluate as fused_module

UNEVEN = (0, 30, 129, 180)


def wide_step(rank, bounds, backend, **how):
    """Value, gradient in the rows of a process and in a learned temperature, by strips."""
    fused_module.AT_ONCE, fused_module.STRIP = 1, 64
    z, labels, numbers, _ = given(90, 2, 160, 7, {"unlabelled": True})
    mine = slice(bounds[rank], bounds[rank + 1])
    rows = z[mine].clone().requires_grad_()
    tau = torch.nn.Parameter(torch.tensor(0.1))
    criterion = SupCLLoss(alpha=0.4, temperature=tau, backend=backend, **how)
    loss = criterion(rows, labels[mine], numbers[mine])
    loss.backward()
    return loss.detach(), rows.grad, tau.grad


def wide_by_gathering(rank, bounds):
    return wide_step(rank, bounds, "fused", gather=True)


if __name__ == "__main__":
    check_exchanges((0, 3, 16, 17), ["fused"])
    value, gradient, slope = wide_step(0, (0, UNEVEN[-1]), "tiled")
    ranks = spawn(wide_by_gathering, len(UNEVEN) - 1, UNEVEN)
    together = torch.cat([of_rank for _, of_rank, _ in ranks]) / len(ranks)
    found = {
        "value": max(abs(float(of_rank - value)) for of_rank, _, _ in ranks),
        "gradient": float((together - gradient).norm() / gradient.norm()),
        "slope": max(abs(float(of_rank / slope - 1)) for _, _, of_rank in ranks),
    }
    json.dump(found, sys.stdout)
