"""Callbacks measure what `measure` does, log it, warn, and leave the model as it was found."""

import random
import socket
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from processes import run_in_processes
from uncollapse.errors import InputError
from uncollapse.metrics import measure
from uncollapse.monitor import CollapseWarning, as_numbers, measure_model

# What Lightning itself warns of on a machine like the tests'.
of_lightning = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*does not have many workers.*",
    "ignore:.*smaller than the logging interval.*",
)


class Encoder(nn.Module):
    """Batch norm, dropout and a counter that changes in any mode: something to disturb."""

    def __init__(self, collapsed=False):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 8)
        )
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("centres", torch.eye(2, 8))
        self.collapsed = collapsed

    def forward(self, x):
        self.calls += 1
        spread = self.layers(x)
        return (
            spread * 1e-3 + self.centres[(x[:, :1] > 8).long()[:, 0]] if self.collapsed else spread
        )


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    x = torch.tensor(found.data[:400], dtype=torch.float32)
    labels = torch.tensor(found.target[:400] % 2)
    x[:, 0] = 16 * labels  # which class it is, for the encoder that collapses
    return TensorDataset(x, labels)


def embed(model, batch):
    return model(batch[0]), batch[1]


def state_of(model):
    return (
        [m.training for m in model.modules()],
        {name: b.clone() for name, b in model.named_buffers()},
        [id(b) for b in model.buffers()],
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].copy(),  # noqa: NPY002
    )


def assert_as_found(model, before):
    after = state_of(model)
    assert after[0] == before[0]
    assert all(torch.equal(after[1][name], value) for name, value in before[1].items())
    assert after[2] == before[2]
    assert torch.equal(after[3], before[3])
    assert after[4] == before[4]
    assert np.array_equal(after[5], before[5])


def test_it_is_measure_on_the_same_embeddings(digits):
    model = Encoder()
    found = measure_model(model, DataLoader(digits, 37), embed)
    model.eval()
    with torch.no_grad():
        whole = measure(model(digits.tensors[0]), digits.tensors[1], permutations=0)
    for name in ("within_class_variance", "share", "total_variance"):
        mine, other = getattr(found, name), getattr(whole, name)
        assert mine.estimate == pytest.approx(other.estimate, rel=1e-6)
        assert (mine.low, mine.high) == pytest.approx((other.low, other.high), rel=1e-6)
    assert found.verdict == whole.verdict


def test_what_cross_entropy_ignores_is_unlabelled(digits):
    rows, labels = digits.tensors

    def found(mark):
        marked = torch.where(torch.arange(len(labels)) % 5 == 0, mark, labels)
        return measure_model(nn.Identity(), [(rows, marked)], embed)

    assert found(-100) == found(-1)
    assert found(-100).conditions.dropped == {"unlabelled": len(labels[::5])}
    with pytest.raises(InputError, match="-2 in"):
        found(-2)


def test_views_of_an_instance_give_its_variance(digits):
    def two_views(model, batch):
        noise = torch.randn(2, *batch[0].shape)
        return torch.stack([model(batch[0] + e) for e in noise], dim=1), batch[1]

    numbers = as_numbers(measure_model(Encoder(), DataLoader(digits, 100), two_views), "a/")
    assert numbers["a/within_class_variance"] == pytest.approx(
        numbers["a/instance_variance"] + numbers["a/view_variance"]
    )
    assert "a/instance_variance" not in as_numbers(
        measure_model(Encoder(), DataLoader(digits, 100), embed), "a/"
    )


def two_passes(model, batch):
    """Views by dropout alone, from the hidden layer of the encoder below."""
    return torch.stack([model(batch[0]), model(batch[0])], dim=1), batch[1]


def test_dropout_makes_no_views_in_evaluation_mode(digits):
    torch.manual_seed(0)
    model, loader = Encoder(), DataLoader(digits, 100)
    off = measure_model(model, loader, two_passes)
    one = measure_model(model, loader, embed)
    assert off.view_variance.estimate is None
    assert off.instance_variance.estimate is None
    assert off.share == one.share
    assert off.conditions.views
    assert [r.code for r in off.reasons if r.code[:4] == "UC51" or r.code == "UC501"] == ["UC513"]
    assert {c.view_variance.estimate for c in off.classes} == {None}


def test_with_dropout_on_its_views_are_judged(digits):
    """Instances that dropout drowns: said by UC202 and UC206, which views that coincide silence."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 512), nn.Dropout(0.5))
    nn.init.normal_(model[0].weight, std=0.5 / 64)
    nn.init.normal_(model[0].bias)
    model[0].weight.data[:, 0] = torch.randn(512) / 4  # which class it is
    loader = DataLoader(digits, 100)
    found = measure_model(model, loader, two_passes, dropout=True)
    assert [reason.code for reason in found.reasons][:2] == ["UC206", "UC202"]
    assert found.view_variance.estimate == pytest.approx(0.5, abs=0.01)
    silent = {reason.code for reason in measure_model(model, loader, two_passes).reasons}
    assert "UC513" in silent
    assert not {"UC202", "UC206"} & silent
    assert model[1].training


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was_found(digits, training):
    model = Encoder().train(training)
    model.layers[2].train(not training)
    before = state_of(model)

    def disturbing(model, batch):
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        assert not model.layers[2].training
        assert not torch.is_grad_enabled()
        return embed(model, batch)

    measure_model(model, DataLoader(digits, 50, shuffle=True), disturbing)
    assert_as_found(model, before)
    assert all(p.grad is None for p in model.parameters())


def test_it_is_left_so_when_it_fails(digits):
    model = Encoder()
    before = state_of(model)
    with pytest.raises(InputError, match="return a tuple"):
        measure_model(model, DataLoader(digits, 50), lambda model, batch: model(batch[0]))
    assert_as_found(model, before)


def test_batches_of_every_kind_are_moved(digits):
    x, y = digits.tensors
    whole = measure_model(Encoder().eval(), [(x, y)], embed).total_variance.estimate is not None
    for batch in ({"x": x, "y": y}, [x, {"y": [y]}], {"x": x, "y": y, "name": "plain"}):

        def of(model, batch):
            if isinstance(batch, dict):
                return model(batch["x"]), batch["y"]
            return model(batch[0]), batch[1]["y"][0]

        assert measure_model(Encoder(), [batch], of).verdict == "not-collapsed"
    assert whole


def worker(rank, port, path, sharded):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model, data = Encoder(), torch.load(path)
    batches = [tuple(part) for part in zip(*(t.split(64) for t in data), strict=True)]
    found = measure_model(model, batches[rank::2] if sharded else batches, embed, sharded=sharded)
    if rank == 1:
        (path.parent / "found.json").write_text(found.to_json())
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_find_what_one_does(digits, tmp_path, sharded):
    path = tmp_path / "data.pt"
    torch.save(digits.tensors, path)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    run_in_processes(worker, (port, path, sharded), 2)
    torch.manual_seed(0)
    one = measure_model(Encoder(), DataLoader(digits, 64), embed)
    two = type(one).from_json((tmp_path / "found.json").read_text())
    assert two.share.estimate == pytest.approx(one.share.estimate, rel=1e-9)
    assert two.share.low == pytest.approx(one.share.low, rel=1e-9)
    assert sum(c.count for c in two.classes) == 400


# Lightning


def lit(collapsed, **options):
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder(collapsed)
            self.seen = []

        def forward(self, x):
            return self.encoder(x)

        def training_step(self, batch):
            self.seen.append((self.encoder.training, torch.get_rng_state()))
            return self(batch[0]).square().mean()

        def validation_step(self, batch):
            return None

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-6)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "max_epochs": 2,
    }
    return Module(), pl.Trainer(**quiet | options)


def fit_lightning(digits, collapsed, callbacks, **options):
    torch.manual_seed(0)
    module, trainer = lit(collapsed, callbacks=callbacks, **options)
    loader = DataLoader(digits, 100)
    trainer.fit(module, loader, loader)
    return module, trainer


@of_lightning
def test_lightning_logs_and_does_not_disturb(digits):
    from uncollapse.monitor.lightning import CollapseCallback

    callback = CollapseCallback(layer="encoder")
    module, trainer = fit_lightning(digits, False, [callback])
    assert [step for step, _ in callback.measurements] == [4, 8]
    last = callback.measurements[-1][1]
    assert last.conditions["layer"] == "encoder"
    assert trainer.callback_metrics["collapse/share"] == pytest.approx(last.share.estimate)
    assert trainer.callback_metrics["collapse/verdict"] == 2
    plain, _ = fit_lightning(digits, False, [])
    assert len(plain.seen) == len(module.seen) == 8
    for (mode, state), (plain_mode, plain_state) in zip(module.seen, plain.seen, strict=True):
        assert mode == plain_mode
        assert torch.equal(state, plain_state)
    for a, b in zip(module.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "given", [lambda y: y[:, None], lambda y: y.tolist(), lambda y: y.numpy(), lambda y: y.float()]
)
@of_lightning
def test_labels_come_as_they_do_to_the_losses(digits, given):
    from uncollapse.monitor.lightning import CollapseCallback

    def embed(model, batch):
        return model(batch[0]), given(batch[1])

    callback = CollapseCallback(embed)
    fit_lightning(digits, False, [callback], max_epochs=1)
    plain = CollapseCallback()
    fit_lightning(digits, False, [plain], max_epochs=1)
    assert callback.measurements == plain.measurements
    assert callback.retentions == plain.retentions


@of_lightning
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_lightning_says_that_a_run_without_validation_is_not_measured(digits):
    from uncollapse.monitor.lightning import CollapseCallback

    callback = CollapseCallback(batches=DataLoader(digits, 200))
    module, trainer = lit(False, callbacks=[callback], max_epochs=1)
    with pytest.warns(CollapseWarning, match="measured when the trainer validates"):
        trainer.fit(module, DataLoader(digits, 100))
    assert callback.measurements == []


@of_lightning
def test_lightning_warns_once_when_collapsed_and_measures_every_other_time(digits):
    from uncollapse.monitor.lightning import CollapseCallback

    callback = CollapseCallback(every=2, batches=DataLoader(digits, 200))
    with pytest.warns(CollapseWarning, match=r"step 4: class collapse \(UC101\)") as caught:
        fit_lightning(digits, True, [callback], max_epochs=4)
    assert sum(w.category is CollapseWarning for w in caught) == 1
    assert [step for step, _ in callback.measurements] == [4, 12]
    with pytest.raises(InputError, match="every >= 1"):
        CollapseCallback(every=0)


@of_lightning
def test_lightning_goes_on_when_nothing_can_be_measured(digits):
    from uncollapse.monitor.lightning import CollapseCallback

    def one_class(module, batch):
        return module(batch[0]), torch.zeros(len(batch[0]))

    callback = CollapseCallback(one_class)
    with pytest.warns(CollapseWarning, match="collapse not measured: expected two classes"):
        _, trainer = fit_lightning(digits, False, [callback])
    assert trainer.global_step == 8
    assert callback.measurements == []


@of_lightning
def test_lightning_asks_which_of_several_loaders(digits):
    from uncollapse.monitor.lightning import CollapseCallback

    module, trainer = lit(False, callbacks=[CollapseCallback()])
    module.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
    loader = DataLoader(digits, 200)
    with pytest.raises(InputError, match="one validation loader; found 2"):
        trainer.fit(module, loader, [loader, loader])


# Hugging Face


class Rows(torch.utils.data.Dataset):
    """Digits as sequences of tokens, or as pictures."""

    def __init__(self, kind):
        found = load_digits()
        self.labels = found.target[:120] % 2
        if kind == "bert":
            self.inputs = {"input_ids": torch.tensor(found.data[:120, :16]).long()}
        else:
            pictures = torch.tensor(found.images[:120], dtype=torch.float32) / 16
            self.inputs = {"pixel_values": pictures[:, None]}

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        return {name: v[k] for name, v in self.inputs.items()} | {"labels": int(self.labels[k])}


def small_model(kind):
    import transformers

    size = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    if kind == "bert":
        config = transformers.BertConfig(vocab_size=20, max_position_embeddings=16, **size)
        return transformers.BertForSequenceClassification(config)
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, **size)
    return transformers.ViTForImageClassification(config)


def first_token(model, batch):
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    hidden = model(**inputs, output_hidden_states=True).hidden_states[-1]
    return hidden[:, 0], batch["labels"]


def one_point_a_class(model, batch):
    rows, labels = first_token(model, batch)
    return torch.eye(2, rows.shape[1])[labels] + 1e-3 * rows, labels


def hugging(kind, folder, embed=None, evaluation=None, watch=None, **options):
    import transformers

    from uncollapse.monitor.transformers import CollapseCallback

    torch.manual_seed(0)
    rows = Rows(kind)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=40,
        per_device_eval_batch_size=50,
        eval_strategy="epoch",
        save_strategy=options.pop("save_strategy", "no"),
        report_to=options.pop("report_to", []),
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        logging_strategy="epoch",
        **options,
    )
    trainer = transformers.Trainer(
        small_model(kind), arguments, train_dataset=rows, eval_dataset=evaluation or rows
    )
    callback = None
    if embed is not None:
        callback = CollapseCallback(trainer, embed, **watch or {})
        trainer.add_callback(callback)
    trainer.train()
    return trainer, callback


@pytest.mark.parametrize("kind", ["bert", "vit"])
def test_transformers_logs_and_does_not_disturb(kind, tmp_path):
    trainer, callback = hugging(kind, tmp_path / "with", first_token)
    assert [step for step, _ in callback.measurements] == [3, 6]
    logged = [entry for entry in trainer.state.log_history if "eval_collapse_share" in entry]
    shares = [found.share.estimate for _, found in callback.measurements]
    assert [entry["eval_collapse_share"] for entry in logged] == pytest.approx(shares)
    assert logged[0]["step"] == 3
    metrics = trainer.evaluate()
    assert metrics["eval_collapse_verdict"] in (-1, 0, 1, 2, 3)
    plain, _ = hugging(kind, tmp_path / "without")
    mine, other = trainer.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_transformers_warns_and_its_numbers_choose_the_best(tmp_path):
    with pytest.warns(CollapseWarning, match=r"class collapse \(UC101\)") as caught:
        trainer, _ = hugging(
            "vit",
            tmp_path,
            one_point_a_class,
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="eval_collapse_share",
            greater_is_better=True,
        )
    assert sum(w.category is CollapseWarning for w in caught) == 1
    logged = [
        e["eval_collapse_share"] for e in trainer.state.log_history if "eval_collapse_share" in e
    ]
    assert trainer.state.best_metric == pytest.approx(max(logged))


def test_transformers_tells_several_evaluation_sets_apart(tmp_path):
    sets = {"near": Rows("vit"), "far": Rows("vit")}
    trainer, _ = hugging("vit", tmp_path, first_token, evaluation=sets)
    names = {name for entry in trainer.state.log_history for name in entry}
    assert {"eval_near_collapse_share", "eval_far_collapse_share"} <= names


def test_no_warning_without_collapse(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure_model(Encoder(), DataLoader(digits, 100), embed)


def test_other_rows_than_at_the_start_give_a_warning_and_no_retention(digits):
    from uncollapse.monitor._watch import Watch

    model, watch = Encoder(), Watch(embed, None)
    watch._remember_start(model, DataLoader(digits, 100), sharded=False)
    tell = {"sharded": False, "tell": True}
    numbers = watch._numbers(model, DataLoader(digits, 100), 0, **tell)
    assert numbers["retention"] == pytest.approx(1)
    assert numbers["kept_score"] == pytest.approx(1 - numbers["share"])
    numbers = watch._numbers(model, DataLoader(digits, 100), 1, **tell, score=0.25)
    assert numbers["kept_score"] == 0.25
    torch.manual_seed(0)
    with pytest.warns(CollapseWarning, match="other rows"):
        numbers = watch._numbers(model, DataLoader(digits, 100, shuffle=True), 2, **tell)
    assert "retention" not in numbers
