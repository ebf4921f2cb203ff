"""`uncollapse train` and `uncollapse embed`: parse, call, print."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from uncollapse.cli._console import (
    INTERRUPTED,
    bar,
    need,
    plain_console,
    print_json,
    say,
    tell,
)
from uncollapse.cli._setting import Changes, FromZero, Json, OptionalOutput, Output
from uncollapse.cli._trained import show_trained
from uncollapse.errors import InputError
from uncollapse.progress import Step
from uncollapse.records import (
    Calibration,
    NetworkComparison,
    NetworkPrediction,
    Part,
    Prediction,
    ReferenceCheck,
    RunRecord,
    circumstances_of,
    read_network_run,
    read_yaml,
    to_json_types,
)
from uncollapse.storage import write_text

if TYPE_CHECKING:
    from uncollapse.training import Problem


# A list of literals is more than typer takes.
Split = StrEnum("Split", ["train", "validation", "test"])
# Above this many numbers a prediction for random batches takes minutes; it is then left out.
MANY_CLASSES = 200


def need_training(config: Path | None = None, extra: str = "train") -> None:
    """Raise the user's error when the packages of the extra `train` are not there.

    `extra` is the one that brings all that the command needs, to be named at once.

    What is no YAML is refused first, because those packages take seconds to load.
    """
    what = "the packages that training uses"
    need(what, extra, "yaml")
    if config is not None:
        read_yaml(config, "a configuration in YAML", "check the file")
    need(what, extra, "kornia", "lightning_fabric", "timm")


def _predicted(problem: Problem, calibration: Calibration | None) -> Prediction | None:
    from uncollapse.theory import forecast, predict, with_keep

    setting, config = problem.setting(), problem.config
    if not setting.balanced and len(setting.counts) > MANY_CLASSES:
        return None
    prediction = predict(setting, thresholds=False)
    if calibration is not None:
        network = forecast(
            calibration,
            setting,
            steps=problem.sampler.steps * config.epochs,
            circumstances=circumstances_of(config.plain(), problem.data.description.fingerprint),
        )
        prediction = replace(prediction, network=network)
    return with_keep(prediction, config.loss.keep)


def _tell(problem: Problem, prediction: Prediction | None) -> None:
    """What is going to be trained, and what theory says of it."""
    config, data = problem.config, problem.data
    rows = ", ".join(f"{n} {part}" for part, n in data.description.rows.items())
    say(f"data         {data.description.source}: {rows}; {len(data.label_names)} classes")
    for note in data.description.notes:
        say(f"note         {note}")
    if data.description.licence:
        say(f"licence      {data.description.licence}")
    say(f"batches      {problem.sampler.coverage(0).text}")
    if prediction is None:
        say("prediction   left out: too many unequal classes")
        return
    say(
        f"prediction   {prediction.phase} at alpha {config.loss.alpha:g}, temperature "
        f"{config.loss.temperature:g}: variance {prediction.instance_variance:.4f} between "
        f"instances, {prediction.view_variance:.4f} between views"
    )
    if prediction.network is not None:
        _tell_network(prediction.network)
    if config.loss.keep:
        say(f"keep         {config.loss.reference}: {prediction.notes[-1]}")
    if "spread" not in prediction.phase_per_class and config.loss.keep:
        say(
            "note         without what is kept, the optimum of this loss is collapsed: keep holds "
            "along which directions instances differ, and not how far, so their variance may stay "
            "small. Whether it worked, retention says (projector/retention in metrics.jsonl)"
        )
    elif "spread" not in prediction.phase_per_class:
        say(
            "WARNING      the optimum of this loss is collapsed: the instances of every class "
            "become one point. `uncollapse predict` shows the smallest changes that prevent it"
        )
    elif prediction.phase != "spread":
        phases = zip(data.label_names, prediction.phase_per_class, strict=True)
        collapsed = [name for name, phase in phases if phase not in ("spread", None)]
        say(f"WARNING      predicted to collapse: {', '.join(collapsed)}")


def _tell_reference(check: ReferenceCheck) -> None:
    """Whether a reference is one of these rows at all, and what is not known of it."""
    if check.unrelated:
        say(
            f"WARNING      inside the classes the reference {check.reference} has no more in "
            f"common with the inputs (retention {check.retention:.3f}) than its rows shuffled "
            f"there (up to {check.shuffled:.3f}): rows that do not belong together, or noise"
        )
    elif check.collapsed:
        say(
            f"WARNING      inside the classes the rows of the reference {check.reference} differ "
            f"far less than the inputs do (share of the variance {check.share:.2f}, inputs "
            f"{check.inputs_share:.2f}): it has itself collapsed, and keeping it would hold that"
        )
    else:
        say(
            f"reference    {check.reference}: its rows belong to these (retention "
            f"{check.retention:.3f} against the inputs, shuffled inside the classes up to "
            f"{check.shuffled:.3f}); whether keeping it pays is known after a pilot only"
        )


def _tell_network(network: NetworkPrediction) -> None:
    """What a network like those of the calibration will show at the end."""
    say(
        f"network      one like those of the calibration: variance within classes "
        f"{network.within_class_variance}, between classes {network.between_class_variance}; "
        f"{network.spread_begins}"
    )
    for note in network.notes:
        say(f"note         {note}")


def _against(folder: Path, prediction: Prediction | None) -> dict[str, NetworkComparison] | None:
    """What a finished run shows beside what was predicted for a network like it, now or before."""
    known = (prediction, RunRecord.read(folder / "run.json").prediction)
    network = next((p.network for p in known if p is not None and p.network is not None), None)
    if network is None:
        return None
    try:
        run = read_network_run(folder)
    except InputError:  # Without validation rows nothing was measured.
        return None
    if run.layer != network.layer:
        return None
    return network.beside(within=run.within_class_variance, between=run.between_class_variance)


def train_command(
    config: Annotated[Path, "YAML file; docs/training.md has every key."],
    *,
    set_: Changes = (),
    output: Annotated[OptionalOutput, "The run's folder. [default: runs/CONFIG]"] = None,
    resume: Annotated[bool, "Resume the run in that folder."] = False,
    calibration: Annotated[
        Path | None,
        "Calibration of runs like it (`uncollapse calibrate`), to say what it will show, and at its"
        " end what it showed beside that.",
    ] = None,
    as_json: Json = False,
) -> None:
    """Train an encoder, and watch for collapse.

    Predicts the phase before the first step, measures collapse on validation rows on the way, and
    can be killed at any moment: --resume goes on, with bit-identical results.

    Example: `uncollapse train configs/digits.yaml --set loss.alpha=0.2 -o runs/digits`
    """
    need_training(config)
    from uncollapse.metrics import scores
    from uncollapse.training import (
        build_problem,
        check_folder,
        check_reference,
        load_config,
        train,
    )

    constants = None
    if calibration is not None:
        constants = Calibration.read(calibration, "write it with uncollapse calibrate")
    checked = load_config(config, set_)
    folder = output or Path("runs") / config.stem
    check_folder(folder, resume=resume)
    with bar("reading", "images") as progress:
        problem = build_problem(checked, base=config.parent, progress=progress)
    prediction = _predicted(problem, constants)
    _tell(problem, prediction)
    record: dict[str, Part | None] = {"prediction": prediction}
    check = check_reference(problem) if checked.loss.keep else None
    if check is not None:
        _tell_reference(check)
        record["reference_check"] = check
    with bar("training", "steps", every=("epoch", problem.sampler.steps)) as update:

        def progress(step: Step) -> None:
            update(step.done, step.total, f"loss {step.numbers['loss']:.4f}")

        result = train(
            problem, folder, resume=resume, scores=scores, record=record, progress=progress
        )
    if constants is not None:
        # Beside the run, so that its report advises by it.
        write_text(folder / "calibration.json", constants.to_json() + "\n")
    beside = None if result.interrupted else _against(folder, prediction)
    if as_json:
        answer = to_json_types(vars(result) | record)
        if beside is not None:
            answer["network"] = to_json_types(beside)
        print_json("training", answer | {"folder": str(result.folder)})
    elif result.interrupted or not result.history:
        tell(f"interrupted after step {result.step}; resume with --resume")
    else:
        show_trained(result, problem, prediction, plain_console(), beside or {})
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def embed_command(
    run: Annotated[
        Path, "Folder of a run, or a YAML configuration: its untrained or pretrained encoder."
    ],
    data: Annotated[
        Path | None, "YAML file with a `data:` block; by default the run's own data."
    ] = None,
    *,
    output: Annotated[Output, "The .parquet or .npz file to write; replaced if there."] = Path(
        "embeddings.parquet"
    ),
    split: Annotated[tuple[Split, ...], "Part of the data; may be repeated. [default: all]"] = (),
    views: Annotated[
        FromZero, "Augmented views of each instance, stored after it as it is; 0 for none."
    ] = 0,
    checkpoint: Annotated[
        Literal["best", "last"], "Best by the validation measure, or last."
    ] = "best",
    seed: Annotated[FromZero, "Seed of the views."] = 0,
    as_json: Json = False,
) -> None:
    """Write embeddings of backbone and projector.

    With labels, finer labels, ids and splits beside them, for measure, probe and report.

    Example: `uncollapse embed runs/digits -o runs/digits/embeddings.parquet --split test`
    """
    need_training()
    from uncollapse.training import embed

    problem, which = _to_embed(run, data, views, checkpoint)
    with bar("embedding", "instances") as progress:
        count = embed(
            problem.model,
            problem.data,
            problem.augmenter,
            output,
            splits=[part.value for part in split] or None,
            views=views,
            seed=seed,
            precision=problem.config.precision,
            about={"run": str(run), "checkpoint": which},
            progress=progress,
        )
    if as_json:
        print_json("embedding", {"output": str(output), "rows": count, "checkpoint": which})
    else:
        tell(f"{count} rows in {output} ({which})")


def _to_embed(
    run: Path, data: Path | None, views: int, checkpoint: Literal["best", "last"]
) -> tuple[Problem, str]:
    """The encoder with the views that are wanted and the data to embed; which weights they are."""
    from uncollapse.data import Augmenter, load_data, training_scales
    from uncollapse.training import (
        build_problem,
        load_config,
        load_data_config,
        load_trained,
        read_run,
    )

    if run.is_dir():
        config, record = read_run(run)
        # Its paths are as they were given: relative to the folder of the configuration.
        base = Path(record.base)
    else:
        config, base = load_config(run), run.parent
    if views:
        config = config.model_copy(
            update={"views": config.views.model_copy(update={"count": views})}
        )
    with bar("reading", "images") as progress:
        problem = build_problem(config, base=base, progress=progress)
        if data is not None:
            other = load_data(load_data_config(data), base=data.parent, progress=progress)
    which = load_trained(run, problem, checkpoint) if run.is_dir() else "initial weights"
    if data is not None:
        # Normalised as in training, whatever the other data's own mean is.
        scales = training_scales(problem.data.inputs, problem.rows)
        augmenter = Augmenter(config.views, other.inputs.kind, other.inputs.shape, scales)
        problem = replace(problem, data=other, augmenter=augmenter)
    return problem, which
