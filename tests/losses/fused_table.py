"""The fused kernels by Triton's interpreter, against the definition in float64: a table as JSON.

TRITON_INTERPRET=1 python tests/losses/fused_table.py
"""

import json
import sys
from functools import partial
from unittest import mock

import torch
from kernels import started_on_a_gpu

from uncollapse.errors import InputError
from uncollapse.losses import (
    SupCLLoss,
    finish_checks,
    l_spread_loss,
    reference_supcl,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)
from uncollapse.losses._engine.fused import evaluate as fused_module
from uncollapse.losses._engine.fused.evaluate import Laid

HALF, FULL = {"dtype": "bfloat16"}, {"dtype": "float32"}
CONSTANTS = {name: getattr(fused_module, name) for name in ("GROUPS", "AT_ONCE", "STRIP")}
PAIRS = {"self_pairs": "include", "reduction": "pairs"}
STRIPS = {"AT_ONCE": 1, "STRIP": 128}
# Of more dimensions than a program holds: products by the library, or by strips of slopes.
WIDE = {
    "usual": (75, 2, 160, 7, {"unlabelled": True}),
    "one view, bfloat16": (70, 1, 333, 7, HALF | {"alpha": 0.0}),
    "three views, bfloat16": (47, 3, 144, 5, HALF | PAIRS),
    "bfloat16, fast": (35, 4, 160, 7, HALF | {"precision": "fast"}),
    "ragged": (50, 4, 130, 7, {"ragged": True}),
    "float16": (35, 2, 192, 20, {"dtype": "float16", "anchors_without_positives": "zero"}),
    "cold, float16": (70, 2, 160, 20, {"dtype": "float16", "temperature": 0.005, "alpha": 0.6}),
    "fast": (35, 2, 160, 7, {"precision": "fast"}),
    "one class": (35, 2, 384, 1, {"one_class": "allow"}),
    "as many classes as instances": (35, 2, 520, 35, {"alpha": 1.0}),
    "as they are": (35, 2, 160, 4, {"normalize": False, "temperature": 40.0}),
    "supcon": (35, 2, 256, 5, {"loss": "supcon", "unlabelled": True}),
}
# Instances, views, dimensions, classes; and what is different.
CASES = {
    "less than a tile": (10, 2, 32, 3, FULL),
    "no multiple of a tile": (70, 2, 48, 7, FULL),
    "one view": (130, 1, 32, 4, {"alpha": 0.0}),
    "three views": (23, 3, 100, 5, PAIRS),
    "four views, ragged": (19, 4, 64, 4, {"ragged": True, "unlabelled": True}),
    "one class": (40, 2, 32, 1, {"one_class": "allow"}),
    "as many classes as instances": (40, 2, 32, 40, {"alpha": 1.0}),
    "unlabelled": (40, 2, 32, 5, {"unlabelled": True, "anchors_without_positives": "zero"}),
    "wide": (20, 2, 400, 3, FULL),
    "wide, odd": (20, 2, 333, 3, HALF),
    "cold": (40, 2, 32, 4, {"temperature": 0.005}),
    "as they are": (40, 2, 32, 4, {"normalize": False, "temperature": 5.0}),
    "bfloat16": (70, 2, 128, 7, HALF),
    "bfloat16, with itself": (70, 2, 128, 7, HALF | PAIRS),
    "float16": (70, 2, 64, 7, {"dtype": "float16"}),
    "float32, fast": (70, 2, 64, 7, {"precision": "fast"}),
    "groups of blocks": (130, 2, 16, 7, {"GROUPS": 2}),
    "groups of blocks, cold": (130, 2, 16, 90, {"GROUPS": 1, "temperature": 0.005}),
    "supcon": (40, 2, 32, 5, {"loss": "supcon", "unlabelled": True}),
    "supcon, zero": (40, 1, 32, 30, {"loss": "supcon", "anchors_without_positives": "zero"}),
} | {
    f"bfloat16, {precision}, {tau}": (
        *(70, 2, 64, 7),
        HALF | {"precision": precision, "temperature": tau},
    )
    for precision in ("exact", "fast")
    for tau in (0.05, 0.5)
}
CASES |= {
    f"{path}: {name}": (*batch, changes | how)
    for path, how in (("library", {}), ("strips", STRIPS))
    for name, (*batch, changes) in WIDE.items()
}


def given(instances, views, dimension, classes, changes):
    """Embeddings, labels, instance numbers and arguments of a case."""
    changes = {"alpha": 0.3, "temperature": 0.1} | changes
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(instances, 1, dimension, generator=generator)
    z = common + torch.randn(instances, views, dimension, generator=generator)
    z = z.to(getattr(torch, changes.pop("dtype", "float32"))).flatten(0, 1)
    labels = (torch.arange(instances) % classes).repeat_interleave(views)
    numbers = torch.arange(instances).repeat_interleave(views)
    if changes.pop("ragged", False):
        kept = torch.rand(len(z), generator=generator) < 0.7
        z, labels, numbers = z[kept], labels[kept], numbers[kept]
    if changes.pop("unlabelled", False):
        labels[numbers % 5 == 0] = -1
    columns = torch.stack([labels, numbers * 3], dim=1)  # not one after the other in memory
    return z, columns[:, 0], columns[:, 1], changes


def gradient_of(loss, z):
    z = z.detach().clone().requires_grad_()
    value = loss(z)
    value.backward()
    return value.detach().double(), z.grad.double()


def plain_half(z, labels, numbers, alpha, temperature, **_):
    """A dense masked loss, computed in the precision of the embeddings, as it is often written."""
    z = torch.nn.functional.normalize(z, dim=1)
    s = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    log_p = s - s.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    views = (numbers[:, None] == numbers) & ~itself
    neighbours = (labels[:, None] == labels) & (numbers[:, None] != numbers)
    terms = [-(log_p * pairs).sum(1) / pairs.sum(1) for pairs in (neighbours, views)]
    return (1 - alpha) * terms[0].mean() + alpha * terms[1].mean()


def errors(name):
    """Of a case: how far value and gradient are from float64's, and those of a plain loss."""
    z, labels, numbers, changes = given(*CASES[name])
    precision = changes.pop("precision", "exact")
    constants = {name: changes.pop(name, usual) for name, usual in CONSTANTS.items()}
    loss_of, reference = supcl_loss, reference_supcl
    if changes.pop("loss", None) == "supcon":
        del changes["alpha"]
        loss_of = supcon_loss
        reference = partial(supcon_loss, backend="dense")
    else:
        loss_of = partial(loss_of, precision=precision)

    def fused(x):
        with mock.patch.multiple(fused_module, **constants):
            return loss_of(x, labels, numbers, backend="fused", **changes)

    value, gradient = gradient_of(fused, z)
    exact, of_exact = gradient_of(lambda x: reference(x, labels, numbers, **changes), z.double())
    row = {
        "value": abs(float(value - exact)),
        "gradient": float((gradient - of_exact).norm() / of_exact.norm()),
    }
    if name in ("three views", "groups of blocks", "strips: usual"):
        again = gradient_of(fused, z)
        row["same bits"] = torch.equal(value, again[0]) and torch.equal(gradient, again[1])
    if precision == "fast" or "bfloat16, exact" in name:
        plain = gradient_of(lambda x: plain_half(x, labels, numbers, **changes), z)
        row["plain value"] = abs(float(plain[0] - exact))
        row["plain gradient"] = float((plain[1] - of_exact).norm() / of_exact.norm())
    return row


def said(call):
    try:
        call()
    except InputError as error:
        return str(error)
    return "nothing"


# Rows, dimensions, dtype, precision, whether instance numbers are given.
STEPS = [
    *((rows, 128, "bfloat16", "exact", True) for rows in (4096, 65536, 1048576)),
    *(
        (rows, dimension, *how, True)
        for rows in (512, 16384, 65536, 1048576)
        for dimension in (256, 768, 1024)
        for how in (("bfloat16", "exact"), ("bfloat16", "fast"), ("float32", "exact"))
    ),
    *((rows, 768, "float16", "exact", True) for rows in (16384, 65536)),
    (65536, 768, "bfloat16", "exact", False),
]


def launches(rows, dimension, dtype, precision, is_given):
    """Kernels of a step on a GPU, ours and torch's, waits of the host, and its largest tensor."""

    def loss_of(empty):
        z = empty(rows, dimension, dtype=getattr(torch, dtype))
        labels, numbers = empty(2, rows, dtype=torch.int64)
        arguments = {"alpha": 0.3, "temperature": 0.1, "backend": "fused", "precision": precision}
        supcl_loss(z, labels, numbers if is_given else None, **arguments)

    started = []
    with mock.patch.object(Laid, "start", lambda laid, kernel, *_, **__: started.append(kernel)):
        counted = started_on_a_gpu(loss_of)
    kernels, waits = sum(counted.kernels.values()), sum(counted.waits.values())
    return kernels + len(started), waits, counted.largest


def saved(instances):
    """Bytes kept for the backward pass; memory that tensors share counts once."""
    z = torch.randn(instances, 2, 32, requires_grad=True)
    held = {}

    def hold(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        supcl_loss(z, torch.arange(instances) % 3, alpha=0.3, temperature=0.1, backend="fused")
    return sum(held.values())


def others():
    """What else there is: terms, a learned temperature, refusals, checks that come later."""
    z, labels, numbers, _ = given(20, 2, 32, 3, {})
    usual = {"alpha": 0.3, "temperature": 0.1}
    fused = {**usual, "backend": "fused"}
    tiled = supcl_terms(z, labels, numbers, **usual, track=True)
    terms = supcl_terms(z, labels, numbers, **fused, track=True, checks="deferred")
    slopes = []
    for backend in ("tiled", "fused"):
        tau = torch.nn.Parameter(torch.tensor(0.1))
        SupCLLoss(alpha=0.3, temperature=tau, backend=backend)(z, labels, numbers).backward()
        slopes.append(tau.grad.item())
    in_the_call = said(lambda: supcl_loss(z * 0, labels, numbers, **fused, checks="deferred"))
    later = said(finish_checks)
    return {
        "steps": [launches(*given) for given in STEPS],
        "saved": [saved(20), saved(40)],
        "backend": terms.backend,
        "terms": [float(terms.supervised - tiled.supervised)],
        "spread": float(terms.spread.mean - tiled.spread.mean),
        "slopes": slopes,
        "at once": said(lambda: supcl_loss(z * 0, labels, numbers, **fused)),
        "in the call": in_the_call,
        "later": later,
        "two labels": said(lambda: supcl_loss(z, labels, numbers * 0, **fused)),
        "float64": said(lambda: supcl_loss(z.double(), labels, numbers, **fused)),
        "two scopes": said(
            lambda: l_spread_loss(z, labels, alpha=0.3, temperature=0.1, backend="fused")
        ),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    table = {name: errors(name) for name in CASES}
    json.dump({"table": table, "others": others()}, sys.stdout)
