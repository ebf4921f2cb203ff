"""The configuration of a training run: one YAML file, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from uncollapse.data import BatchConfig, DataConfig, Strict, ViewsConfig, data_config
from uncollapse.errors import InputError, fault_in_words, fault_remedy
from uncollapse.records import parse_yaml, read_yaml
from uncollapse.training._loss_config import LossConfig, YamlNumber

PositiveCount = Annotated[int, Field(ge=1)]
# Units of a layer; more, or a billion by a slip of the hand, would take all memory at once.
Width = Annotated[int, Field(ge=1, le=1 << 16)]


class EncoderConfig(Strict):
    """The `encoder:` block: the backbone, whose output is the layer "backbone".

    Attributes:
        kind: "convnet" (stride-2 convolutions), "resnet" (with the small-image stem), "mlp" (for
            tables and features), or "timm" (any of its models by name).
        widths: Of convnet (channels of each convolution) and mlp (units of each layer).
        norm: Of convnet and mlp: "batch", "group" (convnet; layer norm in an mlp) or "none".
        depth: Of resnet: 18, 34, 50 or 101.
        stem: Of resnet: "small" (3 x 3, stride 1, no pooling, for 32 px) or "imagenet".
        name: Of timm's model.
        weights: File with pretrained weights: safetensors, or a state dict that loads with
            weights_only; "package:NAME/FILE" for one that an installed package holds.
        match: How its tensors are found: by "name", or by "order" where names differ and a state
            dict's modules, last names and shapes agree one by one.
        frozen: Whether the backbone stays as it is (evaluation mode, no gradient).
    """

    kind: Literal["convnet", "resnet", "mlp", "timm"]
    widths: Annotated[tuple[Width, ...], Field(strict=False, max_length=100)] | None = None
    norm: Literal["batch", "group", "none"] = "batch"
    depth: Literal[18, 34, 50, 101] = 18
    stem: Literal["small", "imagenet"] = "small"
    name: str | None = None
    weights: str | None = None
    match: Literal["name", "order"] = "name"
    frozen: bool = False

    @model_validator(mode="after")
    def _name_of_timm(self) -> EncoderConfig:
        if (self.kind == "timm") != (self.name is not None):
            raise ValueError("`name` and kind `timm` belong together")
        return self


class HeadConfig(Strict):
    """The `head:` block: the projection head, whose output is the layer "projector".

    With two layers: linear without bias, batch norm (as `norm` says), ReLU, linear; the head of
    the public code of Lee et al. 2025 (arXiv 2503.08203).

    Attributes:
        dimension: Embedding dimension d.
        layers: Linear layers: 0 (the backbone's output is embedded itself), 1 or 2.
        hidden: Units between two layers; None for the backbone's width.
        norm: "batch" or "none".
    """

    dimension: Width = 128
    layers: Literal[0, 1, 2] = 2
    hidden: Width | None = None
    norm: Literal["batch", "none"] = "batch"


class OptimiserConfig(Strict):
    """The `optimiser:` block.

    Attributes:
        kind: "sgd" (momentum 0.9) or "adamw".
        learning_rate: At the end of the warm-up.
        momentum: Of sgd.
        weight_decay: Of all parameters but biases and norms.
        warmup_epochs: Epochs of linear rise from 1 % of the learning rate.
        schedule: "cosine" down to `final` times the learning rate, or "constant".
        final: See `schedule`.
        clip: Largest norm of the gradient; None for no limit.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[YamlNumber, Field(gt=0)] = 0.05
    momentum: Annotated[YamlNumber, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[YamlNumber, Field(ge=0)] = 1e-4
    warmup_epochs: Annotated[YamlNumber, Field(ge=0)] = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    final: Annotated[YamlNumber, Field(ge=0, le=1)] = 0.001
    clip: Annotated[YamlNumber, Field(gt=0)] | None = None


class ValidationConfig(Strict):
    """The `validation:` block: what is measured during training, on validation rows only.

    Attributes:
        every: Epochs between measurements; the last epoch is always measured.
        rows: Rows at most, the same ones every time.
        best: Name of the measure whose largest value marks the best checkpoint; None for the
            within-class probe of the projector where there are finer labels, else its accuracy.
    """

    every: PositiveCount = 1
    rows: PositiveCount = 3000
    best: str | None = None


class CheckpointConfig(Strict):
    """The `checkpoint:` block: one after every epoch, and after every so many steps."""

    every_steps: PositiveCount | None = None


class TrainConfig(Strict):
    """A training run.

    Attributes:
        data, views, batch: See `uncollapse.data`.
        encoder, head, loss, optimiser, validation, checkpoint: See their classes.
        epochs: Passes of the sampler.
        seed: Of weights, batches, views and dropout. (`data.seed` is that of the split.)
        device: "cpu", "cuda" or "auto".
        precision: "fp32" or "bf16" (autocast).
        sync_batch_norm: Whether batch norm takes the statistics of all processes.
        workers: Processes that read and augment ahead.
    """

    data: DataConfig
    views: ViewsConfig = ViewsConfig()
    batch: BatchConfig = BatchConfig()
    encoder: EncoderConfig
    head: HeadConfig = HeadConfig()
    loss: LossConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: PositiveCount
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["cpu", "cuda", "auto"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    sync_batch_norm: bool = True
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _self_pairs_exist(self) -> TrainConfig:
        if self.views.count == 1 and self.loss.self_pairs == "exclude" and self.loss.alpha > 0:
            raise ValueError("alpha > 0 needs views.count of 2 or more: one view has no other view")
        return self

    @model_validator(mode="after")
    def _reference_makes_sense(self) -> TrainConfig:
        refusal = _no_reference(self) if self.loss.keep else None
        if refusal is not None:
            raise ValueError(f"loss.reference: {self.loss.reference}: {refusal}")
        return self

    def plain(self) -> dict[str, Any]:
        """As JSON and YAML write it."""
        return self.model_dump(mode="json")


def _no_reference(config: TrainConfig) -> str | None:
    """Why the reference of a configuration that keeps one makes no sense."""
    loss, encoder = config.loss, config.encoder
    if loss.reference == "stored" and config.data.reference is None:
        return "name the file that holds it in data.reference"
    if loss.reference == "base" and encoder.weights is None and loss.base is None:
        return (
            "an untrained encoder has nothing worth keeping; give encoder.weights or loss.base, or "
            "take input or self-supervised"
        )
    if loss.reference == "backbone" and config.head.layers == 0:
        return "without a head the backbone is the embedding itself"
    if loss.reference == "self-supervised":
        if loss.alpha == 1:
            return "the run itself is one, because alpha is 1"
        if encoder.frozen:
            return "the backbone is frozen, and no run changes it; take backbone"
        if config.views.count == 1 and loss.self_pairs == "exclude":
            return "a run with alpha 1 needs views.count of 2 or more"
    if config.batch.per_class is not None and config.batch.per_class < 4:
        return "retention needs four instances of a class; raise batch.per_class"
    return None


def parse_config(block: Mapping[str, Any], *, source: str = "the configuration") -> TrainConfig:
    """A configuration from plain types; the first key that is unknown or does not fit is named."""
    try:
        return TrainConfig.model_validate(dict(block))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = fault_in_words(first, place)
        remedy = fault_remedy(first, _keys(), "see docs/training.md for every key")
        raise InputError(f"a valid training configuration in {source}", problem, remedy) from error


def _keys() -> list[str]:
    """Keys of the configuration and of its blocks, as block.key."""
    found = list(TrainConfig.model_fields)
    for name, field in TrainConfig.model_fields.items():
        for kind in get_args(field.annotation) or (field.annotation,):
            found += [f"{name}.{key}" for key in getattr(kind, "model_fields", ())]
    return found


def load_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """A configuration from a YAML file, with single keys changed.

    Args:
        path: The YAML file. Relative paths in it refer to its folder.
        settings: Changes such as "loss.alpha=0.2"; values are YAML.

    Raises:
        InputError: The file cannot be read, is no YAML mapping, or holds what is not allowed.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "run.yaml")
        ...     _ = path.write_text("{data: {source: digits}, encoder: {kind: convnet}, epochs: 3}")
        ...     config = load_config(path, ["loss.alpha=0.2", "loss.temperature=0.1"])
        >>> config.loss.alpha, config.epochs
        (0.2, 3)
    """
    block = _read_block(path)
    for setting in settings:
        _change(block, setting)
    return parse_config(block, source=str(path))


def _read_block(path: Path) -> dict[str, Any]:
    block = read_yaml(path, "a configuration in YAML", "check the file")
    if not isinstance(block, dict):
        raise InputError(f"keys and values in {path}", type(block).__name__, "see docs/training.md")
    return block


def _change(block: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError("--set key=value", repr(setting), "for example --set loss.alpha=0.2")
    *parents, last = key.strip().split(".")
    for parent in parents:
        block = block.setdefault(parent, {})
        if not isinstance(block, dict):
            raise InputError(
                f"a block at {parent!r} for --set {key}", f"{block!r}", "name a key inside a block"
            )
    block[last] = parse_yaml(text, f"a YAML value for --set {key}")
    if isinstance(block[last], str):
        # 1e-4 is text to YAML 1.1, and a number to everybody else.
        with suppress(ValueError):
            block[last] = float(block[last])


def load_data_config(path: Path) -> DataConfig:
    """The `data:` block of a YAML file, which may hold other blocks too."""
    block = _read_block(path).get("data")
    if not isinstance(block, dict):
        raise InputError(f"a `data:` block in {path}", f"{block!r}", "see docs/training.md")
    return data_config(block)
