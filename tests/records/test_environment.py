"""What a record says of the machine, without starting a program or trusting a repository."""

import subprocess
import sys

from uncollapse.records import Environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WATCHED = """
import sys
sys.addaudithook(lambda event, _: event in {"subprocess.Popen", "os.posix_spawn"} and sys.exit(9))
from uncollapse.records import Environment
assert Environment.now(("numpy",)).processor
"""


def test_no_program_is_started():
    assert subprocess.run([sys.executable, "-c", WATCHED]).returncode == 0


def test_a_repository_can_name_a_commit_and_no_other_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Environment.now().commit == ""
    git = tmp_path / ".git"
    (git / "refs").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/main\n")
    assert Environment.now().commit == ""
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/main\n")
    assert Environment.now().commit == COMMIT
    (git / "refs/main").write_text(COMMIT[::-1] + "\n")
    assert Environment.now().commit == COMMIT[::-1]
    (tmp_path / "secret").write_text("a password that nobody should read in a report")
    (git / "HEAD").write_text("ref: ../secret")
    assert Environment.now().commit == ""
