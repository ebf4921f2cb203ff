"""What a stress test is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from uncollapse.errors import InputError, nearest
from uncollapse.records.pilot_options import Layer

DamageKind = Literal[
    "none", "imbalance", "label-noise", "shift", "corrupt", "augmentation", "rows", "classes",
    "optimiser", "initialisation", "width", "depth",
]  # fmt: skip
ImbalanceForm = Literal["exponential", "step"]
StressObjective = Literal["auto", "within-class", "retention"]
NoiseForm = Literal["symmetric", "similar", "near-duplicates", "confusion"]


@dataclass(frozen=True, kw_only=True)
class StressOptions:
    """Which damages are done to a setting, and when it counts as broken; two seeds or more.

    Attributes:
        imbalance: Ratios of the largest to the smallest class, from 1 (itself left out).
        imbalance_form: Class sizes fall exponentially, or half of the classes (or those named by
            rare) are small alike.
        rare: Classes that are to be the small ones; may be repeated. [default: the smallest]
        label_noise: Shares of wrong labels, above 0, up to 1 - 1/m of m classes.
        noise_form: To any other class alike, to the most similar class, near-duplicates alone, or
            as the confusion matrix says.
        confusion: Of the form confusion: how often each true class (row) carries each label.
        shift: Slice column: trained on the rows of each value, tested on the others.
        corrupt: Corruptions of test rows, each at five strengths; images: noise, blur, contrast,
            brightness, pixelate, jpeg; tables and features: noise, scale.
        augmentation: Strengths (none, weak, medium, strong), or numbers of operations.
        rows: Shares of the training rows, between 0 and 1.
        fewer_classes: Numbers of classes, from 2: the largest ones alone.
        optimiser: sgd or adamw, or with a learning rate, as adamw:0.003.
        initialisation: Factors of the initial weights, above 0.
        width: Factors of the encoder's widths, above 0.
        depth: Numbers of its layers, from 1; of resnet 18, 34, 50 or 101.
        seeds: Seeds of each run.
        budget: Wall-clock seconds, for which epochs are cut; None for no limit.
        workers: Processes of one thread each, at least 1.
        layer: Layer that is deployed, where it is judged.
        objective: What must not be lost; auto takes the first that the data allow.
        margin: Loss of the finer label (or retention), or of the training label, that is accepted,
            between 0 and 1.
        confidence: Of every interval.

    Examples:
        >>> StressOptions(imbalance=(10, 100), label_noise=(0.2,)).seeds
        3
    """

    imbalance: tuple[float, ...] = ()
    imbalance_form: ImbalanceForm = "exponential"
    rare: tuple[str, ...] = ()
    label_noise: tuple[float, ...] = ()
    noise_form: NoiseForm = "symmetric"
    confusion: tuple[tuple[float, ...], ...] = ()
    shift: str | None = None
    corrupt: tuple[str, ...] = ()
    augmentation: tuple[str, ...] = ()
    rows: tuple[float, ...] = ()
    fewer_classes: tuple[int, ...] = ()
    optimiser: tuple[str, ...] = ()
    initialisation: tuple[float, ...] = ()
    width: tuple[float, ...] = ()
    depth: tuple[int, ...] = ()
    seeds: int = 3
    budget: float | None = None
    workers: int = 1
    layer: Layer = "projector"
    objective: StressObjective = "auto"
    margin: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_words("imbalance_form", self.imbalance_form, get_args(ImbalanceForm))
        check_words("noise_form", self.noise_form, get_args(NoiseForm))
        check_words("layer", self.layer, get_args(Layer))
        check_words("objective", self.objective, get_args(StressObjective))
        for name, good, wanted in (
            ("imbalance", all(1 < r < float("inf") for r in self.imbalance), "above 1"),
            ("label_noise", all(0 < r < 1 for r in self.label_noise), "between 0 and 1"),
            ("rows", all(0 < r < 1 for r in self.rows), "between 0 and 1"),
            ("fewer_classes", all(m >= 2 for m in self.fewer_classes), "2 or more"),
            ("initialisation", all(0 < f < 1e6 for f in self.initialisation), "above 0"),
            ("width", all(0 < f < 1e3 for f in self.width), "above 0"),
            ("depth", all(1 <= n <= 101 for n in self.depth), "from 1 to 101"),
            ("seeds", 2 <= self.seeds <= 1000, "2 or more, as intervals come from them"),
            ("budget", self.budget is None or self.budget > 0, "above 0 seconds"),
            ("workers", self.workers >= 1, "1 or more"),
            ("margin", 0 < self.margin < 1, "between 0 and 1"),
            ("confidence", 0 < self.confidence < 1, "between 0 and 1"),
        ):
            if not good:
                value = getattr(self, name)
                raise InputError(f"{name} {wanted}", f"{value!r}", "see docs/robustness.md")


def check_words(name: str, word: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is none of those known, and name the one that was probably meant."""
    if word not in known:
        near = nearest(word, known, 0.5)
        remedy = f"did you mean {near}?" if near else "see docs/robustness.md"
        raise InputError(f"{name} as one of {', '.join(known)}", repr(word), remedy)
