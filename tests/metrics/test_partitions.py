"""Rows in partitions, on one machine or on several, give the measurement of all rows."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_states, partition_state
from uncollapse.tables import Columns


@pytest.fixture
def table():
    random = np.random.default_rng(3)
    labels = np.repeat([3, 1, 2, 0], [90, 60, 80, 70])
    rows = np.eye(4, 6)[labels] + 0.4 * random.standard_normal((300, 6))
    split = np.where(random.random(300) < 0.7, "train", "test")
    return pa.table(
        {"embedding": list(rows), "label": labels, "site": np.arange(300) // 10, "part": split}
    )


KEYS = ("classes", "share", "within_class_variance", "instance_variance", "ssem", "micro")


def numbers(found):
    record = json.loads(found.to_json())
    return {key: record[key] for key in KEYS}


def close(found, wanted, digits=1e-9):
    if isinstance(wanted, dict):
        return all(close(found[key], wanted[key], digits) for key in wanted)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=digits, abs=1e-12)
    return found == wanted


@pytest.mark.parametrize("columns", [Columns(), Columns(group="site")])
def test_partitions_are_all_rows(table, columns):
    wanted = numbers(measure(table, columns=columns))
    cuts = [0, 90, 90, 100, 210, 300]  # one class alone, none at all
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    states = [partition_state(part, columns=columns) for part in parts]
    assert close(numbers(measure_states(states)), wanted)
    assert close(numbers(measure_states(reversed(states))), wanted)
    batches = partition_state(table.to_batches(max_chunksize=70), columns=columns)
    assert close(numbers(measure_states([batches])), wanted)
    assert not close(numbers(measure_states(states[1:])), wanted)


def test_as_dask_and_spark_map_them(table):
    frames = np.array_split(np.arange(300), 4)
    states = [partition_state(table.to_pandas().iloc[rows]) for rows in frames]  # map_partitions
    mapped = pd.concat(pd.DataFrame({"state": [state]}) for state in states)["state"]
    assert close(numbers(measure_states(mapped)), numbers(measure(table)))
    none = partition_state(iter([]))  # Spark's partition without rows
    assert close(numbers(measure_states([none, *states, none])), numbers(measure(table)))
    with pytest.raises(InputError, match=r"two classes or more; found 0"):
        measure_states([none, none])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, in Dask
def test_dask_maps_its_own_partitions(table, tmp_path):
    """Its frames, read from files and made from pandas'; text is what it makes of lists else."""
    import dask
    import dask.dataframe

    def measured(frame):
        parts = [dask.delayed(partition_state)(part) for part in frame.to_delayed()]
        return numbers(measure_states(dask.compute(*parts)))

    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=64)
    wanted = numbers(measure(table))
    read = dask.dataframe.read_parquet(tmp_path / "rows.parquet", split_row_groups=True)
    assert read.npartitions == 5
    assert close(measured(read), wanted)
    with dask.config.set({"dataframe.convert-string": False}):
        made = dask.dataframe.from_pandas(table.to_pandas(), npartitions=4)
        assert close(measured(made), wanted)


def test_the_part_is_said_for_partitions(table):
    table = table.rename_columns(["embedding", "label", "site", "split"])
    cuts = [table.slice(a, 75) for a in range(0, 300, 75)]
    with pytest.raises(InputError, match="the part that is measured"):
        partition_state(cuts[0])
    cuts.append(table.filter(pa.compute.equal(table["split"], "train")).slice(0, 1))
    found = measure_states(partition_state(part, split="test") for part in cuts)
    wanted = measure(table)
    assert found.conditions.split == wanted.conditions.split == "test"
    assert close(numbers(found), numbers(wanted))


def test_what_cannot_be_merged_is_said(table):
    with pytest.raises(InputError, match="states of partitions; found none"):
        measure_states([])
    exact, blocks = partition_state(table), partition_state(table, interval="blocks")
    with pytest.raises(InputError, match="two accumulators of one kind"):
        measure_states([exact, blocks])
    with pytest.raises(InputError, match="is not one or is cut short"):
        measure_states([exact[:100]])
    views = Columns(instance="site")
    halves = [partition_state(part, columns=views) for part in (table[:100], table[95:])]
    with pytest.raises(InputError, match="every instance in one"):
        measure_states(halves)


CLUSTER = """
    import json, os, signal, sys
    import numpy as np
    import pyarrow as pa
    import ray
    import uncollapse
    from uncollapse import Columns, InputError, measure
    from uncollapse.metrics import _ray

    folder = sys.argv[1]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    random = np.random.default_rng(3)
    labels = np.repeat(["d", "b", "c", "a"], [900, 600, 800, 700])
    codes = np.unique(labels, return_inverse=True)[1]
    rows = (np.eye(4, 16)[codes] + 0.4 * random.standard_normal((3000, 16))).astype("f4")
    split = np.where(random.random(3000) < 0.7, "train", "test")
    table = pa.table({"z": list(rows), "kind": labels, "split": split})
    columns = Columns(embedding="z", label="kind")
    data = ray.data.from_arrow(table).repartition(4)

    def once_killed(block):
        mark, armed = (os.path.join(folder, name) for name in ("killed", "armed"))
        if os.path.exists(armed) and block["kind"].to_pylist()[0] == "c":
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return block
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    states = _ray._states

    def armed(mapped):  # the pass that makes the states begins
        open(os.path.join(folder, "armed"), "w").close()
        return states(mapped)

    _ray._states = armed

    def said(call):
        try:
            return call().to_json()
        except InputError as error:
            return str(error)

    few = ray.data.from_arrow(table.slice(0, 9))
    lost = data.map_batches(once_killed, batch_format="pyarrow")
    print(json.dumps({
        "here": measure(table, columns=columns).to_json(),
        "killed": measure(lost, columns=columns).to_json(),
        "wrong": said(lambda: measure(few, columns=Columns(label="species"), split="all")),
        "finer": said(lambda: measure(data, columns=Columns(label="kind", slices=("split",)))),
    }))
"""


@pytest.mark.slow
def test_a_ray_dataset_is_one_machine_though_a_worker_is_killed(tmp_path):
    script = tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(CLUSTER))
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, error = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, error[-3000:]
    found = json.loads(out.splitlines()[-1])
    assert Path(tmp_path, "killed").exists()
    killed, here = json.loads(found["killed"]), json.loads(found["here"])
    assert killed["conditions"]["split"] == "test"
    assert close({key: killed[key] for key in KEYS}, {key: here[key] for key in KEYS})
    assert found["wrong"].startswith("expected a column 'species' in pyarrow.Table")
    assert found["finer"].startswith("expected a Dataset without finer labels and slices")
