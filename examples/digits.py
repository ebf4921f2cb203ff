"""Collapse on real data, predicted, measured and prevented: scikit-learn's digits.

    python examples/digits.py [--seed 0] [--epochs 60]

A small network learns "even or odd" with SupCon as published, and again with the smallest alpha
whose predicted variance between instances is 0.3. Which digit it is was never told: does the
embedding still know? About a minute on one core.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from uncollapse.losses import SupCLLoss
from uncollapse.metrics import measure
from uncollapse.theory import BalancedBatch, Setting, advise, predict

PER_CLASS, VIEWS, TEMPERATURE = 64, 2, 0.1


def views_of(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Two views of each image, (b, p, 64): shifted by up to a pixel, with noise."""
    padded = nn.functional.pad(images.reshape(-1, 1, 8, 8), (1, 1, 1, 1))
    out = []
    for _ in range(VIEWS):
        x, y = torch.randint(0, 3, (2, len(images)), generator=generator)
        rows = (torch.arange(8) + x[:, None])[:, :, None]
        columns = (torch.arange(8) + y[:, None])[:, None, :]
        shifted = padded[torch.arange(len(images))[:, None, None], 0, rows, columns]
        noise = 0.1 * torch.randn(shifted.shape, generator=generator)
        out.append((shifted + noise).reshape(len(images), 64))
    return torch.stack(out, dim=1)


def train(
    images: torch.Tensor, labels: torch.Tensor, alpha: float, epochs: int, seed: int
) -> nn.Module:
    """An encoder trained on balanced batches at one alpha."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64)
        )
    loss_function = SupCLLoss(alpha=alpha, temperature=TEMPERATURE)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    members = [torch.nonzero(labels == c).ravel() for c in labels.unique()]
    for _ in range(epochs * (len(images) // (PER_CLASS * len(members)))):
        rows = torch.cat(
            [own[torch.randperm(len(own), generator=generator)[:PER_CLASS]] for own in members]
        )
        views = views_of(images[rows], generator)
        embeddings = encoder(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        loss = loss_function(embeddings, labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder.eval()


def main() -> None:
    """Predict, train twice, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    data = load_digits()
    images = torch.from_numpy((data.data / 16).astype(np.float32))
    digits, parity = data.target, torch.from_numpy(data.target % 2)
    fit, held = train_test_split(
        np.arange(len(digits)), test_size=0.4, stratify=digits, random_state=options.seed
    )
    setting = Setting(
        class_counts=np.bincount(parity[fit]).tolist(),
        views=VIEWS,
        alpha=(VIEWS - 1) / (VIEWS * PER_CLASS - 1),
        temperature=TEMPERATURE,
        batch=BalancedBatch(PER_CLASS),
    )
    changed = next(a.setting for a in advise(setting, target_variance=0.3, levers=("alpha",)))
    for name, at in (("SupCon as published", setting), ("with the advised alpha", changed)):
        prediction = predict(at)
        sys.stderr.write(f"training {name} ...\n")
        encoder = train(images[fit], parity[fit], at.alpha, options.epochs, options.seed)
        with torch.no_grad():
            embeddings = encoder(images[held]).numpy()
        found = measure(
            embeddings,
            parity[held].numpy(),
            fine_labels=digits[held],
            prediction=prediction,
        )
        print(f"\n=== {name}: alpha = {at.alpha:.4f}\n{found}")


if __name__ == "__main__":
    main()
