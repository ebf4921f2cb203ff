"""s3:// against a server that speaks S3, by the packages that a user installs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files

LABELS = np.repeat(["ant", "bee", "cat"], 30)


@pytest.fixture
def bucket(monkeypatch):
    import s3fs
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("shop")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_bucket_is_read_as_a_folder_is(bucket, tmp_path):
    rows = np.eye(3, 8).repeat(30, axis=0) + np.random.default_rng(0).normal(0, 0.3, (90, 8))
    table = pa.table({"embedding": list(rows), "label": LABELS})
    pq.write_table(table, tmp_path / "rows.parquet")
    bucket.put(str(tmp_path / "rows.parquet"), "shop/rows.parquet")
    for label in np.unique(LABELS):
        part = table.filter(pa.compute.equal(table["label"], label)).drop_columns("label")
        pq.write_table(part, tmp_path / "part-0.parquet")
        bucket.put(str(tmp_path / "part-0.parquet"), f"shop/set/label={label}/part-0.parquet")
    bucket.pipe("shop/set/_SUCCESS", b"")
    wanted = measure(rows, LABELS)
    for place in ("s3://shop/rows.parquet", "s3://shop/set", "s3://shop/row*.parquet"):
        found = measure_files(place)
        assert found.share == wanted.share, place
        assert found.classes == wanted.classes
    with pytest.raises(InputError, match=r"can be read at s3://shop/none.parquet; found FileNot"):
        measure_files("s3://shop/none.parquet")
    with pytest.raises(InputError, match=r"s3://other/rows.parquet; found FileNotFoundError"):
        measure_files("s3://other/rows.parquet")
