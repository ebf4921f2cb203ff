"""Several processes under DDP: the loss and the gradient of one process with the whole batch."""

import gc
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

# Before any group exists: its functions take the group of the moment of import as their default,
# and DistributedDataParallel would import it later, which keeps the group alive for good.
import torch.distributed.nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel

import uncollapse.losses._engine.processes as processes_module
from processes import run_in_processes
from uncollapse.errors import InputError
from uncollapse.losses import (
    backward_in_chunks,
    class_conditional_info_nce_loss,
    l_spread_loss,
    sincere_loss,
    supcl_loss,
    supcl_terms,
)

INSTANCES, VIEWS, FEATURES, DIMENSION = 17, 2, 6, 5
LABELS = [0, 1, 2, 0, 1, -1, 2, 0, 4, 1, 1, 2, -1, 0, 2, 2, 0]


def dense(arguments):
    return arguments | {"backend": "dense"}


LOSSES = {
    "exclude": lambda z, y, i, **k: supcl_loss(z, y, i, alpha=0.4, temperature=0.1, **k),
    "include": lambda z, y, i, **k: supcl_loss(
        z, y, i, alpha=0.4, temperature=0.1, self_pairs="include", reduction="pairs", **k
    ),
    # So small a temperature that some ranks need a shift for each row, and others do not.
    "cold": lambda z, y, i, **k: supcl_loss(z, y, i, alpha=0.4, temperature=0.0005, **k),
    "sincere": lambda z, y, i, **k: sincere_loss(z, y, i, temperature=0.1, **k),
    "l_spread": lambda z, y, i, **k: l_spread_loss(z, y, i, alpha=0.4, temperature=0.1, **k),
    "sincere, cold": lambda z, y, i, **k: sincere_loss(z, y, i, temperature=0.0005, **k),
    "l_spread, cold": lambda z, y, i, **k: l_spread_loss(
        z, y, i, alpha=0.4, temperature=0.0005, **k
    ),
    "dense": lambda z, y, i, **k: supcl_loss(z, y, i, alpha=0.4, temperature=0.1, **dense(k)),
    "dense, cold": lambda z, y, i, **k: l_spread_loss(
        z, y, i, alpha=0.4, temperature=0.0005, **dense(k)
    ),
    "dense, sincere": lambda z, y, i, **k: sincere_loss(z, y, i, temperature=0.1, **dense(k)),
    "class-conditional": lambda z, y, i, **k: class_conditional_info_nce_loss(
        z, y, i, temperature=0.1, **k
    ),
}


class Around(torch.nn.Module):
    """A module of the caller's around a parallel model."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, rows):
        return self.inner(rows)


WRAPPERS = {
    "bare": lambda model: model,
    "inside": Around,
    "compiled": lambda model: torch.compile(model, backend="eager"),
}


def whole_batch():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(INSTANCES, VIEWS, FEATURES, dtype=torch.float64, generator=generator)
    return inputs, torch.tensor(LABELS), torch.arange(INSTANCES) + 100


def encoder():
    torch.manual_seed(5)  # The process is this test's own.
    layers = [torch.nn.Linear(FEATURES, 8), torch.nn.Tanh(), torch.nn.Linear(8, DIMENSION)]
    module = torch.nn.Sequential(*layers).double()
    # Buffers are what DDP exchanges in forward passes.
    module.register_buffer("steps", torch.zeros(1))
    return module


def in_group(rank, function, world, arguments, folder):
    """Call the function as one rank of a group that is gone, threads and all, before Python ends.

    A group lives on while anything refers to it, a DistributedDataParallel model for example. When
    the interpreter then ends under its threads, the process aborts now and then.
    """
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.save(function(rank, *arguments), Path(folder) / f"{rank}.pt")
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in threads if "gloo" in name], threads


def train_step(rank, bounds):
    """Each loss on this rank's part of the batch: its value and gradients."""
    inputs, labels, instances = whole_batch()
    mine = slice(bounds[rank], bounds[rank + 1])
    results = {}
    for name, loss_of in LOSSES.items():
        for given in (True, False):
            model = DistributedDataParallel(encoder())
            loss = loss_of(
                model(inputs[mine]),
                labels[mine],
                instances[mine] if given else None,
                gather=True,
                tile_size=7,
            )
            loss.backward()
            results[name, given] = loss.item(), gradients(model)
    for kind, wrap in WRAPPERS.items():
        if kind == "compiled" and len(bounds) > 3:
            continue  # once is enough: the compiler is slow to start
        model = DistributedDataParallel(encoder())
        # As many chunks as the rank has rows: 9 and 8, or 3, 13 and 1.
        loss = backward_in_chunks(
            wrap(model),
            inputs[mine].split(1),
            lambda z: LOSSES["exclude"](z, labels[mine], None, gather=True),
        )
        results["exclude", f"chunks, {kind}"] = loss.item(), gradients(model)
    # A temperature that is no part of the parallel model: every rank has the whole gradient.
    tau = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
    z = encoder()(inputs[mine]).detach()
    loss = supcl_loss(z, labels[mine], alpha=0.4, temperature=tau, gather=True)
    loss.backward()
    results["exclude", "temperature"] = loss.item(), tau.grad[None]
    return results


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def spawn(function, world, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        run_in_processes(in_group, (function, world, arguments, folder), world)
        return [torch.load(file) for file in sorted(Path(folder).glob("*.pt"))]


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [(0, 9, 17), (0, 3, 16, 17)], ids=["two", "three, uneven"])
def test_value_and_gradient_are_those_of_one_process(bounds):
    ranks = spawn(train_step, len(bounds) - 1, bounds)
    assert len(ranks) == len(bounds) - 1
    for (name, kind), (value, gradient) in (item for r in ranks for item in r.items()):
        model = encoder()
        inputs, labels, instances = whole_batch()
        tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=kind == "temperature")
        expected = LOSSES[name](model(inputs), labels, instances)
        if kind == "temperature":
            z = model(inputs).detach()
            expected = supcl_loss(z, labels, alpha=0.4, temperature=tau)
        expected.backward()
        tolerance = 1e-10
        message = f"{name}, {kind}"
        assert value == pytest.approx(expected.item(), rel=tolerance), message
        torch.testing.assert_close(
            gradient,
            gradients(model) if tau.grad is None else tau.grad[None],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda text, message=message: f"{message}: {text}",
        )


def bad_step(rank):
    """What each rank says to a batch that is unusable on one of them, and to one without pairs."""
    messages = []
    z = torch.randn(3, 2, 4)
    for batch in (z * torch.nan if rank == 1 else z, z[:, :1], z[:, :, : 3 + rank]):
        try:
            supcl_loss(batch, torch.arange(3) + 3 * rank, alpha=1, temperature=0.1, gather=True)
        except InputError as error:
            messages.append(str(error))
    for changed in (
        {"alpha": 0.5 + 0.1 * rank},
        {"normalize": rank == 0},
        {"temperature": 1 + rank},
    ):
        arguments = {"alpha": 0.5, "temperature": 0.1, "gather": True, **changed}
        try:
            supcl_loss(z, torch.tensor([0, 0, 1]), **arguments)
        except InputError as error:
            messages.append(str(error))
    # A rank without samples takes part; the record speaks of the whole batch.
    mine = z if rank == 0 else z[:0].requires_grad_()
    terms = supcl_terms(
        mine, torch.tensor([0, 0, 1])[: len(mine)], alpha=0.5, temperature=0.1, gather=True
    )
    cold = supcl_loss(
        mine, torch.tensor([0, 0, 1])[: len(mine)], alpha=0.5, temperature=0.0005, gather=True
    )
    assert cold.isfinite()
    if rank == 1:
        terms.loss.backward()
        messages.append(f"gradient {tuple(mine.grad.shape)}")
    messages.append(f"{terms.supervised_anchors_without_positives} lack positives")
    return messages + odd_steps(rank, z)


def odd_steps(rank, z):
    """What each rank says to other errors, groups of others, unequal chunks, the join context."""
    messages = []
    arguments = {"alpha": 0.5, "temperature": 0.1, "gather": True}
    labels = torch.tensor([0, 0, 1])
    only_first = dist.new_group([0])
    for loss_of in (
        lambda: supcl_loss(z, labels.to("meta") if rank == 1 else labels, **arguments),
        lambda: supcl_loss(z, labels, process_group=only_first, **arguments),
        lambda: backward_in_chunks(
            torch.nn.Sequential(torch.nn.SyncBatchNorm(4), torch.nn.Linear(4, 2)),
            [z[:, 0]] * (1 + rank),
            torch.sum,
        ),
    ):
        try:
            messages.append(f"value {loss_of().item():.6f}")
        except InputError as error:
            messages.append(str(error))
    processes_module._in_join_context.cache_clear()
    model = DistributedDataParallel(torch.nn.Linear(4, 2))
    with Join([model]):
        try:
            supcl_loss(model(z), labels, **arguments)
        except InputError as error:
            messages.append(str(error))
    processes_module._in_join_context.cache_clear()
    return messages


@pytest.mark.slow
def test_a_bad_batch_on_one_rank_is_an_error_on_all():
    first, second = spawn(bad_step, 2)
    assert "on rank 1" in first[0]
    assert "finite embeddings" in second[0]
    assert "no positive pair of the self-supervised term" in first[1] == second[1]
    assert "the same embedding size" in first[2] == second[2]
    for message in first[3:6] + second[3:6]:
        assert "the same loss with the same arguments" in message
    assert first[6] == "2 lack positives"
    assert second[6:8] == ["gradient (0, 2, 4)", "2 lack positives"]
    of_a_kind, group, chunks, join = first[7:]
    assert "an unusable one on rank 1" in of_a_kind
    assert group.startswith("value ")
    assert "a usable batch on this process; found NotImplementedError" in second[8]
    assert "a process group that this process belongs to" in second[9]
    assert "as many chunks on every process" in chunks == second[10]
    assert "outside of torch's Join context" in join == second[11]


def exchanging_step(rank, bounds, backends):
    """By backend: value, gradient in this rank's rows, and exchanges, of two batches of labels."""
    names = ("broadcast", "all_reduce", "all_gather_single", "all_gather_into_tensor")
    calls = []

    def counted(name, function):
        def call(*arguments, **options):
            calls.append(name)
            return function(*arguments, **options)

        return call

    for name in names:
        if hasattr(dist, name):
            setattr(dist, name, counted(name, getattr(dist, name)))
    inputs, labels, instances = whole_batch()
    mine = slice(bounds[rank], bounds[rank + 1])
    results = {}
    for backend in backends:
        for of_all in (labels, labels.clamp(max=1).abs()):
            z = inputs[mine].float().requires_grad_()
            calls.clear()
            how = {"alpha": 0.4, "temperature": 0.1, "backend": backend, "gather": True}
            loss = supcl_loss(z, of_all[mine], instances[mine], **how)
            loss.backward()
            results[backend, of_all is labels] = loss.item(), z.grad, tuple(calls)
    return results


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [(0, 9, 17), (0, 3, 16, 17)], ids=["two", "three, uneven"])
def test_exchanges_do_not_depend_on_data(bounds):
    check_exchanges(bounds, ["dense", "tiled"])


def check_exchanges(bounds, backends):
    """`exchanging_step` of each rank against one process."""
    inputs, labels, instances = whole_batch()
    world = len(bounds) - 1
    for rank, results in enumerate(spawn(exchanging_step, world, bounds, backends)):
        for backend in backends:
            assert results[backend, True][2] == results[backend, False][2]
        for (_, is_first), (value, gradient, _) in results.items():
            z = inputs.clone().requires_grad_()
            of_all = labels if is_first else labels.clamp(max=1).abs()
            expected = supcl_loss(z, of_all, instances, alpha=0.4, temperature=0.1)
            expected.backward()
            assert value == pytest.approx(expected.item(), abs=2e-6)
            mine = z.grad[bounds[rank] : bounds[rank + 1]] * world
            torch.testing.assert_close(gradient.double(), mine, rtol=1e-4, atol=1e-6)
