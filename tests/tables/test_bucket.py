"""Addresses against servers that speak their protocols, by the packages that a user installs."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from services import ACCOUNT, DATA_SET, Azure, Hub, served

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.records import Measurement

LABELS = np.repeat(["ant", "bee", "cat"], 30)
ROWS = np.eye(3, 8).repeat(30, axis=0) + np.random.default_rng(0).normal(0, 0.3, (90, 8))
TABLE = pa.table({"embedding": list(ROWS), "label": LABELS})


@pytest.fixture
def s3(monkeypatch):
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
    yield s3fs.S3FileSystem()
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def gs(monkeypatch):
    # The server speaks JSON; what kind of bucket it has, the client would ask by gRPC, for minutes.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs
    from gcp_storage_emulator.server import create_server

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield gcsfs.GCSFileSystem()
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def shop(tmp_path):
    """A folder with the rows as one file, and as one for each label."""
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    for label in np.unique(LABELS):
        part = TABLE.filter(pa.compute.equal(TABLE["label"], label)).drop_columns("label")
        (tmp_path / f"set/label={label}").mkdir(parents=True)
        pq.write_table(part, tmp_path / f"set/label={label}/part-0.parquet")
    (tmp_path / "set/_SUCCESS").touch()
    return tmp_path


def read_as_a_folder(root):
    wanted = measure(ROWS, LABELS)
    for place in ("rows.parquet", "set", "row*.parquet"):
        found = measure_files(f"{root}/{place}")
        assert found.share == wanted.share, place
        assert found.classes == wanted.classes
    with pytest.raises(InputError, match=rf"read at {root}/none.parquet; found FileNotFound"):
        measure_files(f"{root}/none.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_bucket_is_read_as_a_folder_is(scheme, request, shop):
    system = request.getfixturevalue(scheme)
    system.mkdir("shop")
    for file in filter(Path.is_file, shop.rglob("*")):
        system.pipe(f"shop/{file.relative_to(shop)}", file.read_bytes())
    read_as_a_folder(f"{scheme}://shop")
    with pytest.raises(InputError, match=rf"{scheme}://other/rows.parquet; found FileNotFoundErr"):
        measure_files(f"{scheme}://other/rows.parquet")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_azure_is_read_as_a_folder_is(shop, monkeypatch):
    import adlfs

    (shop / "shop").mkdir()
    for each in ("rows.parquet", "set"):
        (shop / each).rename(shop / "shop" / each)
    with served(Azure, shop) as address:
        place = f"AccountName={ACCOUNT};AccountKey=a2V5;BlobEndpoint={address}/{ACCOUNT}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", place)
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        read_as_a_folder("az://shop")
        with pytest.raises(InputError, match=r"az://other/rows.parquet; found FileNotFoundError"):
            measure_files("az://other/rows.parquet")
    adlfs.AzureBlobFileSystem.clear_instance_cache()


@pytest.mark.slow
def test_the_hub_is_read_as_a_folder_is(shop, monkeypatch):
    from huggingface_hub import HfFileSystem

    constants = "huggingface_hub.constants"  # which reads HF_ENDPOINT once
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    with served(Hub, shop) as address:
        files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(f"{constants}.ENDPOINT", address)
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", files)
        HfFileSystem.clear_instance_cache()
        read_as_a_folder(f"hf://datasets/{DATA_SET}")
        with pytest.raises(InputError, match=r"hf://datasets/me/no/rows.parquet; found Repository"):
            measure_files("hf://datasets/me/no/rows.parquet")
    HfFileSystem.clear_instance_cache()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_https_is_read_where_its_certificate_is_trusted(tmp_path):
    import trustme

    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    quiet = partial(Quiet, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"https://127.0.0.1:{server.server_port}/rows.parquet"
        with pytest.raises(InputError, match="found ClientConnectorCertificateError"):
            measure_files(place)
        # What a process trusts is read once, at its start.
        trusted = os.environ | {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
        command = [sys.executable, "-m", "uncollapse", "measure", place, "--json"]
        found = subprocess.run(command, env=trusted, capture_output=True, text=True, check=False)
        server.shutdown()
    share = Measurement.from_json(found.stdout).share
    assert share.estimate == pytest.approx(measure(ROWS, LABELS).share.estimate, rel=1e-12)


def test_the_hub_without_a_network_is_a_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"can be read at hf://datasets/a/b/rows.parquet; found"):
        measure_files("hf://datasets/a/b/rows.parquet")
