"""Image files and folders: nothing of a picture is lost unsaid, nothing but pixels is opened."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uncollapse.data import data_config, load_data
from uncollapse.data._pixels import says_deep
from uncollapse.errors import InputError


def load(block):
    return load_data(data_config(block))


def two_classes(root, save, count=4):
    """A folder of two classes; `save(path without ending, number)` writes each image."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for row in range(count):
            save(root / name / str(row), row)
    return {"source": "image-folder", "path": str(root), "split": {"test": 0.25}}


def noise(row, *shape):
    return np.random.default_rng(row).integers(0, 256, shape or (6, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("values", "span"),
    [
        (np.array([[0, 65535], [32896, 257]], np.uint16), (0, 65535)),
        (np.array([[0, 4095], [2056, 16]], np.uint16), (0, 4095)),
        (np.array([[0, 255], [128, 1]], np.uint16), (0, 255)),
        (np.array([[0, 1], [0.502, 0.0039]], np.float32), (0, 1)),
        (np.array([[-1000, 1000], [4, -992]], np.int32), (-1000, 1000)),
    ],
)
def test_more_than_eight_bits_need_their_range(tmp_path, values, span):
    block = two_classes(tmp_path, lambda path, _: Image.fromarray(values).save(f"{path}.tif"))
    with pytest.raises(
        InputError, match=rf"from {values.min():g} to {values.max():g}: set image.range"
    ):
        load(block)
    data = load(block | {"image": {"range": span}})
    assert data.inputs.read(np.array([0]))[0, 0].tolist() == [[0, 255], [128, 1]]
    assert data.description.notes[:1] == ["1 distinct images of 8"]


def sixteen_bits(path, row):
    """A PNG in colour whose channels hold 12 bits of 16."""
    pixels = np.random.default_rng(row).integers(0, 4096, (6, 12)).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", 4, 6, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    whole = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts
    )
    Path(f"{path}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + whole)


def twelve_bits(path, row):
    pixels = np.random.default_rng(row).integers(0, 4096, (6, 12)).astype(">u2")
    Path(f"{path}.ppm").write_bytes(b"P6 4 6 4095\n" + pixels.tobytes())


def stored(format, mark, at, bits, row=0):
    """A picture of eight bits, and the same with a header that says more."""
    stream = BytesIO()
    Image.fromarray(noise(row)).save(stream, format)
    data = bytearray(stream.getvalue())
    data[data.index(mark) + len(mark) + at] |= bits
    return stream.getvalue(), bytes(data)


def jpeg_2000(path, row):
    data = stored("JPEG2000", b"\xff\x4f\xff\x51", 38, 0x0F, row)[1]
    Path(f"{path}.jp2").write_bytes(data)


def test_a_header_of_avif_says_how_deep_it_is():
    # Pillow refuses a header that its stream does not fit, and writes eight bits alone.
    eight, ten = stored("AVIF", b"av1C", 2, 0x40)
    assert says_deep(ten)
    assert not says_deep(eight)


@pytest.mark.parametrize("save", [sixteen_bits, twelve_bits, jpeg_2000])
def test_more_than_eight_bits_of_a_colour_are_refused(tmp_path, save):
    block = two_classes(tmp_path, save)
    for options in ({}, {"image": {"range": (0, 4095)}}):
        with pytest.raises(InputError, match="more than eight bits a channel in colour"):
            load(block | options)


def test_directories_of_parts_and_others_are_no_classes(tmp_path):
    def save(path, row):
        Image.fromarray(noise(row)).save(f"{path}.png")

    for part in ("train", "Test"):
        two_classes(tmp_path / part, save)
    save(tmp_path / "train/stray", 9)
    block = {"source": "image-folder", "path": str(tmp_path)}
    data = load(block)
    assert data.label_names == ("a", "b")
    assert "left out: 1 image(s) beside the directories of classes" in data.description.notes
    two_classes(tmp_path / "extra", save)
    with pytest.raises(InputError, match="'extra' beside them"):
        load(block)


def with_alpha(path, row):
    grey = Image.new("LA", (4, 6))
    grey.putalpha(Image.fromarray(noise(row)))
    grey.save(f"{path}.png")


def two_frames(path, row):
    more = [Image.fromarray(noise(row))]
    Image.new("L", (4, 6)).save(f"{path}.gif", save_all=True, append_images=more)


def two_pages(path, row):
    more = [Image.fromarray(noise(row))]
    Image.new("L", (4, 6)).save(f"{path}.tif", save_all=True, append_images=more)


@pytest.mark.parametrize(
    ("save", "words", "options"),
    [
        (with_alpha, "set image.alpha", {"alpha": "white"}),
        (two_frames, "2 frames or pages: set image.frame", {"frame": 1}),
        (two_pages, "2 frames or pages: set image.frame", {"frame": 1}),
    ],
)
def test_what_decoding_would_throw_away_is_refused(tmp_path, save, words, options):
    block = two_classes(tmp_path, save)
    with pytest.raises(InputError, match=words):
        load(block)
    data = load(block | {"image": options})
    # The four pictures of each class are the same four.
    assert data.description.notes == ["4 distinct images of 8"]


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("memory", [0, 100])
def test_images_are_turned_as_their_exif_says(tmp_path, ending, memory):
    stored = np.zeros((4, 8), np.uint8)
    stored[:, :4] = 255  # the left half is white: the top half once turned to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} | ({"lossless": True} if ending == "webp" else {})
    block = two_classes(
        tmp_path, lambda path, _: Image.fromarray(stored).save(f"{path}.{ending}", **options)
    )
    data = load(block | {"memory_mib": memory, "image": {"channels": "grey"}})
    assert data.inputs.shape == (1, 8, 4)
    shown = data.inputs.read(np.array([0]))[0, 0]
    assert shown[:4].min() > 240
    assert shown[4:].max() < 15
    assert "8 of 8 images are turned as their EXIF data say" in data.description.notes
    assert "1 distinct images of 8" in data.description.notes


def test_only_pixels_of_regular_files_are_opened(tmp_path):
    block = two_classes(tmp_path, lambda path, row: Image.fromarray(noise(row)).save(f"{path}.png"))
    odd = tmp_path / "a/odd.png"
    odd.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"odd\.png: not an image"):
        load(block)
    odd.unlink()
    os.mkfifo(odd)
    with pytest.raises(InputError, match=r"odd\.png: not a regular file"):
        load(block)
    odd.unlink()
    Image.new("1", (12000, 12000)).save(odd)
    with pytest.raises(
        InputError, match=r"odd\.png: Image size \(144000000 pixels\) exceeds limit"
    ):
        load(block)


def test_what_is_no_image_of_a_class_is_left_out_and_counted(tmp_path):
    root = tmp_path / "photos"
    Image.fromarray(noise(9)).save(tmp_path / "one.png")
    picture = (tmp_path / "one.png").read_bytes()
    block = two_classes(
        root, lambda path, row: Image.fromarray(noise(row)).save(f"{path}.jfif", "JPEG")
    )
    for hidden in (root / ".cache", root / "a/.ipynb_checkpoints"):
        hidden.mkdir()
        (hidden / "0.png").write_bytes(picture)
    for name in ("a/Thumbs.db", "a/notes.txt", "b/more.txt", "b/.0.png"):
        (root / name).write_bytes(b"")
    (root / "a/up").symlink_to(root)
    (root / "b/sibling").symlink_to(root / "a")
    store = tmp_path / "store"
    store.mkdir()
    (store / "9.png").write_bytes(picture)
    (root / "b/outside").symlink_to(store)
    (root / "b/again").symlink_to(store)
    data = load(block)
    assert len(data.ids) == 9
    assert set(data.description.notes) >= {
        "left out: 2 hidden folder(s)",
        "left out: 1 hidden file(s)",
        "left out: 3 link(s) to a folder that is here",
        "left out: 2 file(s) that end in '.txt'",
        "left out: 1 file(s) that end in '.db'",
    }
