"""The measurement as an evaluator of sentence-transformers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncollapse.errors import InputError
from uncollapse.metrics import Margins, measure
from uncollapse.monitor import as_numbers
from uncollapse.records import Measurement
from uncollapse.storage import beside

if TYPE_CHECKING:
    BaseEvaluator = object
else:
    try:
        from sentence_transformers.base.evaluation import BaseEvaluator
    except ImportError as missing:
        raise ImportError(
            "the evaluator needs sentence-transformers 6: pip install 'uncollapse[text]'"
        ) from missing

_COLUMNS = (
    "retention",
    "retention_low",
    "retention_high",
    "share",
    "within_class_variance",
    "between_class_variance",
    "verdict",
)


class CollapseEvaluator(BaseEvaluator):
    """Measures collapse on texts with class labels, as sentence-transformers' evaluators do.

    The primary metric is retention against the model before training: how much of the structure
    inside the classes is still there, 1 all, 0 none (`uncollapse.retention`). It is largest before
    training: as `metric_for_best_model` it guards, and chooses nothing by itself
    (docs/training-loops.md#which-checkpoint-to-keep).

    Args:
        texts: To embed by `model.encode`; two classes or more, some of four texts or more.
        labels: The class of each text.
        start: The model before training, which is embedded now, or its (N, d) embeddings. None:
            those of the evaluator's first call, so call it before training (or eval_on_start=True).
        name: Put before every metric, with an underscore.
        batch_size: Of `model.encode`.
        write_csv: Whether a call with an output path appends a line to
            `collapse_evaluation_NAME_results.csv` there.
        margins: Where collapse begins, and what counts as kept.

    Attributes:
        greater_is_better: True.
        primary_metric: "retention", or "NAME_retention".
        measurements: (epoch, steps, record) of every call.

    Raises:
        InputError: Lengths that differ; fewer than two classes of two texts; no retention, because
            no class has four texts.

    Examples:
        >>> class Letters:  # a SentenceTransformer has such an `encode`
        ...     def encode(self, texts, **options):
        ...         return np.array([[text.count(letter) for letter in "aegost"] for text in texts])
        >>> texts = ["a goat", "geese", "a toad", "the toes", "a seat", "the sage", "gates", "oats"]
        >>> evaluator = CollapseEvaluator(texts, [0, 1, 0, 1, 1, 0, 1, 0], start=Letters())
        >>> numbers = evaluator(Letters())
        >>> round(numbers[evaluator.primary_metric], 6), "share" in numbers
        (1.0, True)
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: ArrayLike,
        start: Any = None,
        *,
        name: str = "",
        batch_size: int = 32,
        write_csv: bool = True,
        margins: Margins | None = None,
    ) -> None:
        super().__init__()
        self.greater_is_better = True
        self.name, self.batch_size, self.write_csv = name, batch_size, write_csv
        self.primary_metric = f"{name}_retention" if name else "retention"
        self.csv_file = "_".join(filter(None, ["collapse_evaluation", name, "results.csv"]))
        self.measurements: list[tuple[int, int, Measurement]] = []
        self._texts, self._labels, self._margins = list(texts), np.asarray(labels), margins
        if len(self._texts) != len(self._labels):
            raise InputError(
                "as many labels as texts",
                f"{len(self._labels)} and {len(self._texts)}",
                "give the class of every text",
            )
        self._start: NDArray[Any] | None = None
        if start is not None:
            self._start = self._embedded(start) if hasattr(start, "encode") else np.asarray(start)

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Embed and measure; the metrics by name, the primary one among them."""
        embeddings = self._embedded(model)
        if self._start is None:
            self._start = embeddings
        record = measure(
            embeddings,
            self._labels,
            reference=self._start,
            margins=self._margins,
            permutations=0,
            probe=None,
        )
        self.measurements.append((epoch, steps, record))
        numbers = self._numbers(record)
        if output_path is not None and self.write_csv:
            self._append(Path(output_path), [epoch, steps, *(numbers.get(c, "") for c in _COLUMNS)])
        named = {f"{self.name}_{key}" if self.name else key: v for key, v in numbers.items()}
        if hasattr(model, "model_card_data"):
            card: Any = self
            card.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named

    def _embedded(self, model: Any) -> NDArray[Any]:
        found = model.encode(
            self._texts,
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(found)

    def _numbers(self, record: Measurement) -> dict[str, float]:
        """What is logged; a class that has become a point keeps nothing: its retention is 0."""
        assert record.reference is not None  # it was given
        found = record.reference.retention
        if found.estimate is None and not any(c.units >= 4 for c in record.reference.classes):
            raise InputError(
                "a class with four texts or more, of which retention is made",
                f"at most {max((c.units for c in record.reference.classes), default=0)}",
                "evaluate more texts of a class",
            )
        kept: dict[str, float | None] = {
            "retention": 0.0 if found.estimate is None else found.estimate,
            "retention_low": found.low,
            "retention_high": found.high,
        }
        return {k: v for k, v in kept.items() if v is not None} | as_numbers(record)

    def _append(self, folder: Path, line: list[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.csv_file
        before = path.read_text("utf-8") if path.is_file() else ""
        with beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            file.write(before)
            writer = csv.writer(file, lineterminator="\n")
            if not before:
                writer.writerow(["epoch", "steps", *_COLUMNS])
            writer.writerow(line)
