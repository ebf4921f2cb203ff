"""The loss as sentence-transformers' trainer takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss, loss_in_chunks

Features = Mapping[str, Any]

# Inputs without a first dimension of one row a sample, by a name that only they have.
_PACKED = {"cu_seq_lens_q": "flattened inputs", "offsets": "a bag of tokens (StaticEmbedding)"}


class SentenceTransformerLoss(nn.Module):
    """`SupCLLoss` as a loss of sentence-transformers: texts with class labels.

        loss = SentenceTransformerLoss(model, alpha=0.2, temperature=0.1)
        trainer = SentenceTransformerTrainer(model, args, train_dataset, loss=loss)

    One text column is embedded `views` times, and dropout makes the views (Gao et al. 2021);
    several text columns are views of one another. The label column holds the class, -1 or -100 for
    none. Every batch sampler will do: a batch without pairs counts as 0, warned of once and counted
    (`criterion.degenerate_batches`); `GROUP_BY_LABEL` has pairs in every batch.

    In evaluation mode dropout is off: a single column's views are then one embedding, repeated.

    Args:
        model: The SentenceTransformer that is trained.
        alpha: Weight of the self-supervised term, in [0, 1], or a function of the step.
        temperature: tau, in [1e-6, 1e6]; theirs is often written as scale = 1 / tau. A Parameter or
            `LearnableTemperature` is trained by their optimiser, which takes a loss's parameters.
        views: Of a single text column in training; at least 2, or 1 with alpha = 0.
        mini_batch_size: Rows that the model embeds at a time, with the gradient of the whole batch
            (`loss_in_chunks`): memory of a few rows for one forward pass more. None for all.
        keep: Weight of 1 - retention inside the classes (`retention_loss`), against `reference`.
        reference: With keep, a model that takes the same tokens. None: a frozen copy of `model` as
            it is now, which is what fine-tuning can lose.
        gather: With several processes, the batch is that of all, and gradients are exact.
        degenerate: What a batch without pairs is, "zero" or "error".
        conventions: `self_pairs`, `reduction`, `anchors_without_positives` and `one_class` of
            `SupCLLoss`.

    Attributes:
        criterion: The `SupCLLoss`; `criterion.last` has the terms of the latest batch.

    Raises:
        InputError: Arguments out of range; in a call, no labels while alpha < 1, or a model
            without dropout where that is to make the views.

    Examples:
        >>> import torch
        >>> class Bag(torch.nn.Module):  # what a SentenceTransformer does with its features
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.words, self.drop = torch.nn.EmbeddingBag(50, 8), torch.nn.Dropout(0.1)
        ...
        ...     def forward(self, features):
        ...         return {"sentence_embedding": self.drop(self.words(features["input_ids"]))}
        >>> model = Bag()
        >>> loss = SentenceTransformerLoss(model, alpha=0.2, temperature=0.1)
        >>> tokens = torch.arange(24).view(8, 3)
        >>> loss([{"input_ids": tokens}], torch.arange(8) % 2).backward()
        >>> model.words.weight.grad.shape, loss.criterion.degenerate_batches
        (torch.Size([50, 8]), 0)

    References:
        Lee et al., "A Theoretical Framework for Preventing Class Collapse in Supervised
        Contrastive Learning", AISTATS 2025 (arXiv 2503.08203); Gao, Yao & Chen, "SimCSE", EMNLP
        2021 (arXiv 2104.08821): views by dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        alpha: float | Callable[[int], float],
        temperature: Any,
        views: int = 2,
        mini_batch_size: int | None = None,
        keep: float = 0.0,
        reference: nn.Module | None = None,
        gather: bool = True,
        degenerate: Any = "zero",
        **conventions: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.criterion = SupCLLoss(
            alpha=alpha,
            temperature=temperature,
            keep=keep,
            gather=gather,
            degenerate=degenerate,
            **conventions,
        )
        least = 1 if alpha == 0 else 2
        for name, value, low in (("views", views, least), ("mini_batch_size", mini_batch_size, 1)):
            if value is not None and (not isinstance(value, int) or value < low):
                remedy = "one view has no pair of the self-supervised term: set alpha=0"
                raise InputError(f"{name} of {low} or more", f"{value!r}", remedy)
        if reference is not None and not keep:
            raise InputError("keep > 0 with a reference", f"keep = {keep}", "give keep=1, say")
        self.views, self.mini_batch_size = views, mini_batch_size
        # In a tuple, so that it is no part of this module: neither trained, wrapped nor saved.
        self._frozen = (_frozen(reference or model),) if keep else ()
        self._differ = False

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None) -> Tensor:
        """The loss of a batch: the tokens of each text column, and (b,) labels."""
        columns = list(sentence_features)
        if labels is None and self.criterion.alpha_now < 1:
            raise InputError(
                "a column of labels (label or labels) in the data set, because alpha < 1",
                f"none beside {len(columns)} text column(s)",
                "add the class of each row as whole numbers, -1 for none, or give alpha=1",
            )
        by_dropout = len(columns) == 1 and self.model.training
        passes = columns * self.views if by_dropout else columns
        reference = self._reference(columns)

        def loss_of(rows: Tensor) -> Tensor:
            views = rows.view(len(passes), -1, rows.shape[1]).transpose(0, 1)
            if by_dropout:
                self._check_dropout(views)
            elif len(columns) == 1:
                views = views.expand(-1, self.views, -1)
            loss: Tensor = self.criterion(views, labels, reference=reference)
            return loss

        if self.mini_batch_size is None:
            return loss_of(torch.cat([_embedding(self.model, features) for features in passes]))
        chunks = [chunk for features in passes for chunk in self._chunks(features)]
        return loss_in_chunks(self.model, chunks, loss_of, embed=_embedding)

    def embed(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """What `uncollapse.monitor.transformers.CollapseCallback` takes as `embed`.

        Args:
            model: The SentenceTransformer.
            batch: Of the trainer's evaluation loader.

        Returns:
            Embeddings (N, d), of several text columns (N, q, d) as views, and the labels.
        """
        from sentence_transformers import SentenceTransformerTrainer

        inputs = {name: value for name, value in batch.items() if name != "dataset_name"}
        # A method that needs nothing of its trainer.
        features_of: Any = SentenceTransformerTrainer.collect_features
        features, labels = features_of(None, inputs)
        views = torch.stack([_embedding(model, column) for column in features], dim=1)
        return views.squeeze(1) if len(features) == 1 else views, labels

    def _chunks(self, features: Features) -> Sequence[Features]:
        """The features of `mini_batch_size` rows at a time."""
        packed = [kind for name, kind in _PACKED.items() if name in features]
        if packed:
            raise InputError(
                "padded inputs, which can be split by rows, with mini_batch_size",
                packed[0],
                "leave mini_batch_size out, or let the tokenizer pad",
            )
        count = max(len(v) for v in features.values() if isinstance(v, Tensor) and v.ndim > 1)
        size = self.mini_batch_size or count
        return [
            {
                name: value[start : start + size] if _is_of_rows(value, count) else value
                for name, value in features.items()
            }
            for start in range(0, count, size)
        ]

    def _reference(self, columns: list[Features]) -> Tensor | None:
        """(b, q, e): what the frozen model makes of each text column."""
        if not self._frozen:
            return None
        device = next(self.model.parameters()).device
        frozen = self._frozen[0].to(device)
        with torch.no_grad():
            parts = [
                torch.cat([_embedding(frozen, chunk) for chunk in self._chunks(features)])
                if self.mini_batch_size
                else _embedding(frozen, features)
                for features in columns
            ]
        return torch.stack(parts, dim=1)

    def _check_dropout(self, views: Tensor) -> None:
        """Refuse, at the first batch, a model whose passes are all the same."""
        if self._differ or views.shape[1] == 1:
            return
        if torch.equal(views[:, 0], views[:, 1]):
            raise InputError(
                "two views that dropout makes different",
                "one embedding twice, in training mode",
                "set the model's dropout above 0, or give two text columns as views, or views=1 "
                "with alpha=0",
            )
        self._differ = True

    def get_config_dict(self) -> dict[str, Any]:
        """For the model card."""
        names = ("self_pairs", "reduction", "keep", "gather")
        found = {name: getattr(self.criterion, name) for name in names}
        weights = {
            "alpha": self.criterion.alpha_now,
            "temperature": self.criterion.temperature_value,
        }
        return weights | found | {"views": self.views, "mini_batch_size": self.mini_batch_size}

    @property
    def citation(self) -> str:
        """For the model card."""
        return """
@inproceedings{lee2025theoretical,
    title={A Theoretical Framework for Preventing Class Collapse in Supervised Contrastive
        Learning},
    author={Lee, Chungpa and Oh, Jeongheon and Lee, Kibok and Sohn, Jy-yong},
    booktitle={International Conference on Artificial Intelligence and Statistics},
    year={2025},
    url={https://arxiv.org/abs/2503.08203}
}
"""


def _embedding(model: nn.Module, features: Features) -> Tensor:
    """(n, d); the features are not changed, because they are embedded again."""
    found: Tensor = model(dict(features))["sentence_embedding"]
    return found


def _is_of_rows(value: Any, count: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count


def _frozen(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters take no gradients."""
    return copy.deepcopy(model).eval().requires_grad_(False)
