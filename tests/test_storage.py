"""Outputs: whole or not at all; links, pipes and devices stay what they are; text is escaped."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from uncollapse.errors import InputError, shown, visible
from uncollapse.storage import beside, json_text, locked, write_text


def test_a_link_keeps_leading_to_what_is_written(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="permission to write"):
        write_text(tmp_path / "loop", "new")


def test_a_pipe_is_written_to_where_somebody_reads_it(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="somebody who reads the pipe"):
        write_text(pipe, "lost")
    held = []
    reader = threading.Thread(target=lambda: held.append(pipe.read_text()))
    reader.start()
    for _ in range(1000):
        try:
            write_text(pipe, "x" * 100_000)
            break
        except InputError:  # the reader has not opened it yet
            threading.Event().wait(0.01)
    reader.join(10)
    assert held == ["x" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_devices_and_streams_stay_what_they_are(capfd):
    write_text(Path(os.devnull), "text")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    write_text(Path("-"), "one\n")
    write_text(Path("/dev/stdout"), "two\n")
    write_text(Path("/dev/stderr"), "three\n")
    assert capfd.readouterr() == ("one\ntwo\n", "three\n")
    with pytest.raises(InputError, match="No space left"):
        write_text(Path("/dev/full"), "text")


def _fail_half_way(part):
    part.write_text("half")
    raise KeyError


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path):
    place = tmp_path / ("long" * 60)
    write_text(place, "old")
    place.chmod(0o640)
    with pytest.raises(KeyError), beside(place) as part:
        _fail_half_way(part)
    assert (place.read_text(), sorted(tmp_path.iterdir())) == ("old", [place])
    write_text(place, "new")
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "other", "new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, alive = tmp_path / f".out.{child:x}-0.part", tmp_path / f".out.{os.getpid():x}-999.part"
    for part in (dead, alive):
        part.write_text("half")
        os.utime(part, (0, 0))
    write_text(tmp_path / "out", "new")
    assert not dead.exists()
    assert alive.exists()


def test_a_folder_is_held_by_one(tmp_path):
    held, again = (locked(tmp_path / "run", "run") for _ in range(2))
    with held, pytest.raises(InputError, match="no other run at work"), again:
        pytest.fail("held twice")
    with locked(tmp_path / "run", "run"):
        pass


BAD = "\x1b[31m\x9b2J\u202eevil\u2066\u200b\ud800\r\n"


def test_text_of_files_is_one_line_without_what_a_terminal_obeys():
    escaped = r"\x1b[31m\x9b2J\u202eevil\u2066\u200b\ud800\r\n"
    assert shown(BAD) == escaped
    assert shown("length [cm] 不良 😀 [/s]") == "length [cm] 不良 😀 [/s]"
    assert len(shown("x" * 10_000)) < 310
    assert visible("a\tb\n\x1b") == "a\tb\n\\x1b"
    assert escaped in str(InputError(BAD, BAD, BAD))
    text = json_text({"label": BAD[:-1]}, None)
    assert text.isascii()
    assert json.loads(text) == {"label": BAD[:-1]}
