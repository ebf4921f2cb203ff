"""Subjects that are written by commands: records, runs, weights and pilots."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from attacks.subjects import (
    Subject,
    _call,
    _config,
    _embed,
    _report,
    data_sources,
    embeddings,
    huggingface,
    states,
)

WRITTEN = ("run/*", "run/checkpoints/*", "run/checkpoints/*/*", "run/tensorboard/*")
SETTING = ("--classes", "3", "--per-class", "24", "--alpha", "0.2", "--temperature", "0.3")


def records(root: Path) -> Iterator[Subject]:
    """JSON of every command."""
    folder = root / "records"
    shutil.copytree(root / "rows", folder)
    rows = str(folder / "rows.npz")
    made = {
        "m": ("measure", rows, "--json", "--permutations", "3"),
        "n": (
            "measure",
            str(folder / "views.npz"),
            "--instance",
            "unit",
            "--slice",
            "site",
            "--fine",
            "finer",
            "--json",
            "--permutations",
            "3",
        ),
        "p": ("predict", *SETTING, "--json"),
        "b": ("probe", rows, "--shots", "1", "--draws", "3", "--json"),
        "s": ("simulate", *SETTING, "--steps", "3", "--json"),
    }
    for name, words in made.items():
        (folder / f"{name}.json").write_text(_call(*words))
    compared = _call("compare", str(folder / "m.json"), str(folder / "m.json"), "--json")
    (folder / "c.json").write_text(compared)
    both = ("compare", "m.json", "n.json", "--json")
    yield Subject("compare measurement", folder, "m.json", "json", both, "compared", 3)
    yield Subject("compare slices", folder, "n.json", "json", both, "", 1)
    shown = ("measure", "rows.npz", "--prediction", "p.json", "--json", "--permutations", "0")
    yield Subject("measure prediction", folder, "p.json", "json", shown, "prediction", 2)
    for name, file in {
        "measurement": "m",
        "slices": "n",
        "prediction": "p",
        "probe": "b",
        "comparison": "c",
        "simulation": "s",
    }.items():
        words = _report(f"{file}.json") if file not in "bc" else _report("m.json", f"{file}.json")
        yield Subject(f"report {name}", folder, f"{file}.json", "json", words, "record", 1.5)
    words = ("report", "m.json", "-o", "out.md", "--format", "markdown", "--lang", "ja")
    yield Subject("report markdown", folder, "m.json", "json", words, "", 0.7)
    words = ("report", "n.json", "-o", "out.html")
    yield Subject("report page", folder, "n.json", "json", words, "", 0.3)


def runs(root: Path) -> Iterator[Subject]:
    """A finished run, reported, embedded and resumed."""
    folder = root / "runs"
    shutil.copytree(root / "data", folder)
    config, run = folder / "parquet.yaml", folder / "run"
    config.write_text(config.read_text() + "checkpoint: {every_steps: 2}\n")
    _call("train", str(config), "-o", str(run))
    _call("embed", str(run), "-o", str(run / "embeddings.parquet"))
    record = json.loads((run / "run.json").read_text()) | {"base": "."}
    (run / "run.json").write_text(json.dumps(record))
    step = json.loads((run / "checkpoints/last.json").read_text())["checkpoint"]
    best = json.loads((run / "checkpoints/best.json").read_text())["checkpoint"]
    for file, kind in {"run.json": "json", "config.yaml": "yaml", "metrics.jsonl": "jsonl"}.items():
        yield Subject(f"report {file}", folder, f"run/{file}", kind, _report("run"), "", 1)
    embed = ("embed", "run", "-o", "out.npz", "--json")
    for file, kind, check in (
        ("run.json", "json", ""),
        ("config.yaml", "yaml", ""),
        ("checkpoints/best.json", "json", ""),
        (f"checkpoints/{best}/state.json", "json", ""),
        (f"checkpoints/{best}/model.safetensors", "safetensors", "weights"),
        ("embeddings.parquet", "parquet", ""),
    ):
        words = embed
        if file == "embeddings.parquet":
            words = ("probe", "run", "--shots", "1", "--draws", "3", "--json")
        yield Subject(
            f"{words[0]} {Path(file).name}", folder, f"run/{file}", kind, words, check, 0.7
        )
    again = ("train", "parquet.yaml", "-o", "run", "--resume", "--json")
    for file, kind in {
        "run.json": "json",
        "config.yaml": "yaml",
        "metrics.jsonl": "jsonl",
        "checkpoints/last.json": "json",
        f"checkpoints/{step}/state.json": "json",
        f"checkpoints/{step}/model.safetensors": "safetensors",
        f"checkpoints/{step}/optimiser.safetensors": "safetensors",
    }.items():
        yield Subject(
            f"resume {Path(file).name}", folder, f"run/{file}", kind, again, "", 0.5, WRITTEN
        )


def references(root: Path) -> Iterator[Subject]:
    """Runs that keep a reference: of a file beside the data, and of a run that is made first."""
    folder = root / "references"
    shutil.copytree(root / "data", folder)
    block = yaml.safe_load((folder / "parquet.yaml").read_text())
    block["encoder"]["widths"] = [32]  # of six units all may be 0 for a row
    (folder / "start.yaml").write_text(yaml.safe_dump(block))
    start = str(folder / "start.yaml")
    for kind in ("npz", "parquet"):
        _call("embed", start, "-o", str(folder / f"stored.{kind}"))
    loss = block["loss"] | {"keep": 1.0}
    for kind in ("npz", "parquet"):
        stored = {"path": f"stored.{kind}", "column": "backbone", "id": "id"}
        changed = {"data": block["data"] | {"reference": stored}, "epochs": 1}
        changed["loss"] = loss | {"reference": "stored"}
        (folder / f"keep-{kind}.yaml").write_text(yaml.safe_dump(block | changed))
        words = ("train", f"keep-{kind}.yaml", "-o", "new", "--json")
        yield Subject(f"keep {kind}", folder, f"stored.{kind}", kind, words, "", 0.4)
    yield Subject("keep yaml", folder, "keep-parquet.yaml", "yaml", words, "", 0.4)
    more = {"loss": loss | {"reference": "self-supervised"}, "checkpoint": {"every_steps": 2}}
    (folder / "first.yaml").write_text(yaml.safe_dump(block | more))
    _call("train", str(folder / "first.yaml"), "-o", str(folder / "run"))
    again = ("train", "first.yaml", "-o", "run", "--resume", "--json")
    written = (*WRITTEN, *(f"run/self-supervised/{inside}" for inside in ("*", "*/*", "*/*/*")))
    for file, kind in {"reference.npy": "npy", "self-supervised/run.json": "json"}.items():
        yield Subject(f"resume {file}", folder, f"run/{file}", kind, again, "", 0.3, written)


def kept_first(root: Path) -> Iterator[Subject]:
    """Embeddings that hold each instance as it is before its views."""
    folder = root / "kept"
    shutil.copytree(root / "data", folder)
    for kind in ("npz", "parquet"):
        file = f"views.{kind}"
        _call("embed", str(folder / "parquet.yaml"), "--views", "2", "-o", str(folder / file))
        words = ("measure", file, "--embedding", "backbone", "--json", "--permutations", "0")
        yield Subject(f"measure kept {kind}", folder, file, kind, words, "kept first", 1)


def weights(root: Path) -> Iterator[Subject]:
    """Pretrained weights of a configuration."""
    import torch
    from safetensors.torch import save_file

    folder = root / "weights"
    shutil.copytree(root / "data", folder)
    state = {"0.weight": torch.randn(6, 5), "0.bias": torch.zeros(6)}
    save_file(state, folder / "w.safetensors")
    torch.save(state, folder / "w.pt")
    for file, kind in {"w.safetensors": "safetensors", "w.pt": "pickle"}.items():
        encoder: dict[str, Any] = {"kind": "mlp", "widths": [6], "norm": "none", "weights": file}
        data = {"source": "table", "path": "t.parquet", "vector": "embedding"}
        (folder / f"{kind}.yaml").write_text(_config(data, encoder=encoder))
        yield Subject(f"weights {kind}", folder, file, kind, _embed(f"{kind}.yaml"), "", 0.7)


def pilots(root: Path) -> Iterator[Subject]:
    """A finished pilot whose runs were invented: rerun, it reads them all."""
    from uncollapse.pilot import Outcome, pilot
    from uncollapse.records import LayerScores, PilotOptions, TrialFile
    from uncollapse.storage import write_json
    from uncollapse.training import load_config

    folder = root / "pilots"
    shutil.copytree(root / "data", folder)

    def invented(jobs: Any, workers: int, ended: Any) -> Iterator[Outcome]:
        for job in jobs:
            objective = 0.5 + 0.3 * (job.trial != "start") + 0.01 * (job.seed % 2)
            scores = LayerScores(0.1, 0.2, "healthy", task=0.9, objective=objective)
            both = {"projector": scores, "backbone": scores}
            free = {each.name: replace(scores, objective=0.4) for each in job.free}
            result = TrialFile(seed=job.seed, measured=both, free=free, epochs=job.until)
            job.folder.mkdir(parents=True, exist_ok=True)
            write_json(job.result, result.to_dict())
            yield Outcome(result)

    path = folder / "parquet.yaml"
    options = PilotOptions(budget=1200.0, workers=1, seeds=2)
    pilot(load_config(path), folder / "pilot", base=folder, options=options, runner=invented)
    words = (
        "pilot",
        "parquet.yaml",
        "-o",
        "pilot",
        "--seeds",
        "2",
        "--budget",
        "20m",
        "--workers",
        "1",
        "--json",
    )
    trial = sorted((folder / "pilot").glob("trials/start/*/measured-*"))[0].relative_to(folder)
    written = ("pilot/*", "pilot/trials/*/*/*")
    shown = _report("pilot")
    yield Subject("report pilot.json", folder, "pilot/pilot.json", "json", shown, "", 1.5)
    yield Subject("report trial", folder, str(trial), "json", shown, "", 0.7)
    yield Subject("pilot plan.json", folder, "pilot/plan.json", "json", words, "", 0.15, written)
    yield Subject("pilot trial", folder, str(trial), "json", words, "", 0.3, written)


MAKERS = (
    embeddings,
    states,
    huggingface,
    data_sources,
    records,
    runs,
    kept_first,
    references,
    weights,
    pilots,
)


def subjects(root: Path) -> list[Subject]:
    """All of them, their templates below the folder.

    Made in a process of their own: a library that has begun threads must not be forked afterwards.
    """
    root.mkdir(parents=True)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_made, root).result()


def _made(root: Path) -> list[Subject]:
    return [subject for make in MAKERS for subject in make(root)]
