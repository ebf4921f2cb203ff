"""The largest share keeps the untrained network; `kept_score` keeps a trained one."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from uncollapse.losses import SupCLLoss

# What Lightning itself warns of on a machine like the tests'.
of_lightning = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*does not have many workers.*",
    "ignore:.*smaller than the logging interval.*",
)
ALPHAS = [0.0079, 0.5]
EPOCHS = 10


def network():
    return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 32))


def even_and_odd():
    """Training and validation rows of the digits."""
    torch.manual_seed(0)
    found = load_digits()
    x, y = torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target % 2)
    order = torch.randperm(len(x))
    return (TensorDataset(x[at], y[at]) for at in (order[:1297], order[1297:]))


def two_views(model, x):
    views = torch.stack([x + 0.1 * torch.randn_like(x) for _ in range(2)], dim=1)
    return model(views.flatten(0, 1)).unflatten(0, (len(x), 2))


def holds(callback, best, alpha):
    """A trained measurement is chosen, and its retention is above the margin."""
    shares = [record.share.estimate for _, record in callback.measurements]
    kept = [retention.estimate for _, retention in callback.retentions]
    assert shares.index(max(shares)) == kept.index(max(kept)) == 0
    assert best > 2
    assert callback.retentions[best][1].low > 0.3
    if alpha < 0.1:
        # The structure is lost in the end, and the last checkpoint is not the one that is kept.
        assert best < len(kept) - 1
        assert callback.retentions[-1][1].high < 0.3


@of_lightning
@pytest.mark.parametrize("alpha", ALPHAS)
def test_lightning_keeps_a_trained_checkpoint(tmp_path, alpha):
    import lightning.pytorch as pl

    from uncollapse.monitor.lightning import CollapseCallback

    def embed(model, batch):
        return two_views(model, batch[0]), batch[1]

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder, self.loss = network(), SupCLLoss(alpha=alpha, temperature=0.1)

        def forward(self, x):
            return self.encoder(x)

        def training_step(self, batch):
            return self.loss(*embed(self, batch))

        def validation_step(self, batch):
            pass

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    train, held = even_and_odd()
    callback = CollapseCallback(embed)
    keep = pl.callbacks.ModelCheckpoint(
        dirpath=tmp_path, monitor="collapse/kept_score", mode="max", filename="{epoch}"
    )
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        callbacks=[callback, keep],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(train, 256, shuffle=True, drop_last=True)
    trainer.fit(Module(), loader, DataLoader(held, 250))
    holds(callback, int(keep.best_model_path.split("epoch=")[1].split(".")[0]), alpha)
    # The start travels with the checkpoint: a resumed run is held against it too.
    again = CollapseCallback(embed)
    again.load_state_dict(
        torch.load(keep.best_model_path, weights_only=False)["callbacks"][callback.state_key]
    )
    assert torch.equal(again.state_dict()["labels"][0], callback.state_dict()["labels"][0])


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_hugging_face_trainer_loads_a_trained_checkpoint(tmp_path, alpha):
    import transformers

    from uncollapse.monitor.transformers import CollapseCallback

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.loss = network(), SupCLLoss(alpha=alpha, temperature=0.1)

        def forward(self, x, labels):
            z = two_views(self.encoder, x)
            return {"loss": self.loss(z, labels), "embedding": z}

    def rows(batch):
        return {
            "x": torch.stack([x for x, _ in batch]),
            "labels": torch.stack([y for _, y in batch]),
        }

    train, held = even_and_odd()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=256,
        per_device_eval_batch_size=250,
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        metric_for_best_model="eval_collapse_kept_score",
        greater_is_better=True,
        load_best_model_at_end=True,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        Model(), arguments, train_dataset=train, eval_dataset=held, data_collator=rows
    )
    callback = CollapseCallback(
        trainer, lambda model, batch: (two_views(model.encoder, batch["x"]), batch["labels"])
    )
    trainer.add_callback(callback)
    trainer.train()
    chosen = int(trainer.state.best_model_checkpoint.split("-")[-1])
    steps = [step for step, _ in callback.retentions]
    holds(callback, steps.index(chosen), alpha)
