"""Which room may import which: read from the source, local imports and lazy names included."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import uncollapse

SOURCE = Path(uncollapse.__file__).parent

# Rooms of src/uncollapse and what each may import. Leaves import no room and any room may use them.
LEAVES = {"errors", "records", "storage"}
MAY_IMPORT = {
    "theory": set(),
    "losses": set(),
    "metrics": set(),
    "data": set(),
    "training": {"losses", "data"},
    "probes": {"metrics"},
    "pilot": {"theory", "losses", "metrics", "data", "training", "probes"},
    "report": {"theory", "metrics"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
ANY_ROOM = {"cli", "__main__"}


def imported_rooms(source: str, module: str) -> set[str]:
    """Rooms that a module's source imports, at any depth of its code.

    `module` is the dotted name of the package that holds the file, to resolve relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).strip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in {"import_module", "__import__"}:
                names = [str(node.args[0].value)]
        found |= {name.split(".")[1] for name in names if name.startswith("uncollapse.")}
    return found - {"__version__"}


def forbidden(source: str, room: str) -> set[str]:
    allowed = LEAVES | {room}
    if room not in LEAVES:
        allowed |= MAY_IMPORT[room]
    return imported_rooms(source, f"uncollapse.{room}") - allowed


def test_every_room_imports_only_what_it_may():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room in {"__init__", "__main__"}:
            continue
        wrong += [
            f"{path.relative_to(SOURCE)} imports {r}" for r in forbidden(path.read_text(), room)
        ]
    assert wrong == []


def test_every_package_is_a_room_with_a_rule():
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    modules = {p.stem for p in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert packages == set(MAY_IMPORT)
    assert modules <= LEAVES


@pytest.mark.parametrize(
    "source",
    [
        "import uncollapse.losses",
        "from uncollapse.losses import supcl_loss",
        "from uncollapse import losses",
        "from ..losses import supcl_loss",
        "from .. import losses",
        "def f():\n    from uncollapse.losses import supcl_loss",
        "import importlib\nimportlib.import_module('uncollapse.losses')",
    ],
)
def test_the_rule_can_fail(source):
    assert forbidden(source, "theory") == {"losses"}


def test_theory_needs_no_optional_package():
    code = (
        "import uncollapse, uncollapse.theory, uncollapse.cli, sys; "
        "print({'torch', 'sklearn', 'pyarrow', 'cvxpy', 'pandas'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "set()"
