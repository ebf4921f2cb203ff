"""Vector stores by their own clients, in this process, give what was put into them."""

import faiss
import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.tables import Columns, from_faiss, from_lancedb, from_qdrant

LABELS = np.repeat(["ant", "bee", "007"], 40)


@pytest.fixture
def rows(rng):
    centres = np.repeat(np.eye(3, 8), 40, axis=0)
    return (centres + 0.3 * rng.standard_normal((120, 8))).astype(np.float32)


def same(found, rows, digits=1e-6):
    wanted = measure(rows, LABELS)
    assert [(c.label, c.count) for c in found.classes] == [
        (c.label, c.count) for c in wanted.classes
    ]
    assert found.share.estimate == pytest.approx(wanted.share.estimate, rel=digits)
    assert found.share.low == pytest.approx(wanted.share.low, rel=digits)


@pytest.fixture
def client(rows, tmp_path):
    client = QdrantClient(path=str(tmp_path / "qdrant"))
    size = models.VectorParams(size=8, distance=models.Distance.COSINE)
    other = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("one", vectors_config=size)
    client.create_collection("two", vectors_config={"text": size, "image": other})
    for collection in ("one", "two"):
        points = []
        for k, (row, label) in enumerate(zip(rows.tolist(), LABELS, strict=True)):
            vector = row if collection == "one" else {"text": row, "image": row[:2]}
            payload = {"label": str(label), "site": k % 2, "tags": ["x"]}
            points.append(models.PointStruct(id=k, vector=vector, payload=payload))
        client.upsert(collection, points)
    yield client
    client.close()


def test_qdrant(client, rows):
    store = from_qdrant(client, "one", batch=50)
    same(measure(store, "label"), rows)
    assert store.schema.names == ["id", "embedding", "label", "site"]
    stream = measure_files(store, columns=Columns(label="label"), stream=True, interval="exact")
    assert stream.share.low == pytest.approx(measure(store, "label").share.low, rel=1e-9)
    store = from_qdrant(client, "two", vectors=["text"], payload=["label"])
    same(measure(store, "label"), rows)
    assert pa.table(store).column_names == ["id", "text", "label"]
    half = models.Filter(must=[models.FieldCondition(key="site", match=models.MatchValue(value=1))])
    ids = pa.table(from_qdrant(client, "one", where=half, batch=7))["id"].to_pylist()
    assert ids == list(range(1, len(rows), 2))


def test_keys_of_qdrant_wherever_they_are(client, rows):
    """Inside another key, on the last page alone, or with the name that point ids have."""
    for k, label in enumerate(LABELS):
        client.set_payload("one", {"id": f"row {k}", "metadata": {"kind": str(label)}}, [k])
    client.set_payload("one", {"late": 1}, [len(rows) - 1])
    inner = from_qdrant(client, "one", payload=["metadata.kind", "late"], batch=50)
    same(measure(inner, "metadata.kind"), rows)
    assert pa.table(inner)["late"].to_pylist()[-2:] == [None, 1]
    assert pa.table(from_qdrant(client, "one"))["id"].to_pylist() == list(range(len(rows)))
    with pytest.raises(InputError, match=r"at 'kind' in .*found none; name others \(label, site"):
        from_qdrant(client, "one", payload=["kind"])


@pytest.mark.parametrize("read", [from_qdrant, from_lancedb, from_faiss])
def test_a_path_in_place_of_a_client_is_told_how_to_open_it(read):
    with pytest.raises(InputError, match=r"found a str; open it: "):
        read("pets", *([] if read is from_lancedb else ["label"]))


def test_what_qdrant_does_not_have_is_said(client):
    with pytest.raises(InputError, match=r"the collection 'none' of Qdrant; found one, two"):
        from_qdrant(client, "none")
    with pytest.raises(InputError, match=r"a vector 'sound' in .*; found text, image"):
        from_qdrant(client, "two", vectors=["sound"])
    with pytest.raises(InputError, match=r"models.Filter \(where\); found 'site = 1'"):
        from_qdrant(client, "two", where="site = 1")
    with pytest.raises(InputError, match=r"at 'tags' in the payload .*; found list"):
        from_qdrant(client, "one", payload=["tags"])
    with pytest.raises(InputError, match="a column 'species' in the collection 'one' of Qdrant"):
        measure(from_qdrant(client, "one"), "species")
    client.set_payload("one", {"site": "north"}, [70])
    with pytest.raises(InputError, match="values of type int64 at 'site'"):
        measure(from_qdrant(client, "one", batch=50), "label")
    client.delete("one", list(range(120)))
    with pytest.raises(InputError, match="points in the collection 'one'"):
        from_qdrant(client, "one")


def index_of(kind, rows):
    if kind == "ids":
        index = faiss.IndexIDMap2(faiss.IndexFlatL2(8))
        index.add_with_ids(rows, np.arange(120)[::-1] + 1000)
        return index
    index = faiss.index_factory(8, kind)
    index.train(rows)
    index.add(rows)
    return index


@pytest.mark.parametrize("kind", ["Flat", "HNSW8,Flat", "IVF2,Flat", "PCA8,Flat", "ids"])
def test_faiss(kind, rows):
    store = from_faiss(index_of(kind, rows), LABELS, batch=50, site=np.arange(120) % 2)
    same(measure(store), rows, 1e-4)
    table = pa.table(store)
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), rows, atol=1e-5)
    assert table["site"].to_pylist() == [0, 1] * 60
    if kind == "ids":
        assert table["id"].to_pylist() == list(range(1119, 999, -1))


def test_what_faiss_cannot_give_is_said(rows):
    with pytest.raises(InputError, match="120 entries of 'label'"):
        from_faiss(index_of("Flat", rows), LABELS[:-1])
    binary = faiss.IndexBinaryFlat(8)
    binary.add(np.arange(120, dtype=np.uint8)[:, None])
    with pytest.raises(InputError, match="gives its vectors back; found IndexBinaryFlat"):
        from_faiss(binary, LABELS)
    with pytest.raises(InputError, match="no vectors"):
        from_faiss(faiss.IndexFlatL2(8), [])
    inverted = faiss.index_factory(8, "IVF2,Flat")
    inverted.train(rows)
    inverted.add_with_ids(rows, np.arange(120) + 7)
    with pytest.raises(InputError, match="which has no order"):
        from_faiss(inverted, LABELS)


@pytest.mark.slow  # takes seconds to import
def test_lancedb(rows, tmp_path):
    import lancedb

    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
    part = np.where(np.arange(120) % 4, "test", "train")
    table = pa.table({"vector": lists, "label": LABELS.tolist(), "part": part.tolist()})
    store = lancedb.connect(tmp_path / "store").create_table("rows", data=table)
    same(measure(from_lancedb(store, batch=50), "label"), rows)
    found = measure(
        from_lancedb(store, columns=["vector", "label"], where="part = 'test'"), "label"
    )
    assert found.conditions.samples == 90
    with pytest.raises(InputError, match=r"a filter of the table 'rows' of LanceDB; found 'nope"):
        from_lancedb(store, where="nope = 3")
    with pytest.raises(InputError, match="a column 'species' in the table 'rows' of LanceDB"):
        from_lancedb(store, columns=["species"])
