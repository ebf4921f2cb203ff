"""The house: which room may import which, through its door, and without a circle.

Read from the source: imports at any depth of the code, lazy names and those for type checkers
included.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import uncollapse

SOURCE = Path(uncollapse.__file__).parent

# Rooms and what each may import; the floors and walks are described in docs/architecture.md.
# Leaves are single files that any room may use; a leaf imports only leaves named before it.
# The last one's intervals are records.
LEAVES = ["errors", "extras", "storage", "progress", "statistics"]
LEAF_MAY_IMPORT = {"statistics": {"records"}}
MAY_IMPORT = {
    "records": set(),
    "samples": {"records"},
    "tables": {"records", "samples"},
    "theory": {"records"},
    "losses": {"records"},
    "data": {"records", "tables"},
    "probes": {"records", "samples", "tables"},
    "metrics": {"records", "samples", "tables", "probes"},
    "monitor": {"records", "samples", "metrics", "report"},
    "training": {"records", "losses", "data", "monitor"},
    "adapters": {"records", "losses", "metrics", "monitor"},
    "simulation": {"records", "losses"},
    "pilot": {"records", "theory", "losses", "metrics", "probes", "data", "training"},
    "stress": {"records", "theory", "metrics", "probes", "data", "training", "pilot"},
    "benchmark": {"records", "losses", "metrics", "probes", "data", "training", "pilot", "stress"},
    "report": {"records", "theory", "metrics", "tables", "data"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)


def modules(root: Path) -> dict[str, Path]:
    """Dotted name of every module below a package's folder."""
    found = {}
    for path in root.rglob("*.py"):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, package: str) -> Iterator[tuple[str, str]]:
    """(module, name) of everything imported; the name is empty for `import module`.

    `package` is the dotted name of the package that holds the file, to resolve relative imports.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).strip(".")
            yield from ((base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in {"import_module", "__import__"}:
                yield str(node.args[0].value), ""


def rooms_of(source: str, package: str) -> set[str]:
    """Rooms and leaves that a file imports."""
    names = [f"{module}.{name}" for module, name in imports(source, package)]
    parts = [name.split(".") for name in names if name.startswith("uncollapse.")]
    return {p[1] for p in parts} - {"__version__", ""}


def forbidden(source: str, room: str) -> set[str]:
    if room in LEAVES:
        allowed = {*LEAVES[: LEAVES.index(room)], *LEAF_MAY_IMPORT.get(room, ())}
    else:
        allowed = {*LEAVES, room, *MAY_IMPORT[room]}
    return rooms_of(source, f"uncollapse.{room}") - allowed


def names_of_door(room: str) -> set[str]:
    """What a room offers: the `__all__` of its `__init__`, or of the stub that it is loaded by."""
    stub = SOURCE / room / "__init__.pyi"
    door = stub if stub.is_file() else SOURCE / room / "__init__.py"
    body = ast.parse(door.read_text("utf-8")).body
    assigned = {ast.unparse(n.targets[0]): n.value for n in body if isinstance(n, ast.Assign)}
    return set(ast.literal_eval(assigned["__all__"]))


def around_doors(source: str, package: str) -> list[str]:
    """Imports of what another room does not offer, or from its inside."""
    own = package.split(".")[1]
    wrong = []
    for module, name in imports(source, package):
        parts = module.split(".")
        if parts[0] != "uncollapse" or (room := ".".join(parts[1:]) or name) in {own, "", *LEAVES}:
            continue
        if room.partition(".")[0] == own:
            continue
        if "." in room or (name and parts[1:] and name not in names_of_door(room)):
            wrong.append(f"{module} {name}".strip())
    return wrong


def circle(files: Mapping[str, Path]) -> list[str]:
    """The modules of one circle of imports; none without one."""
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        graph[module] = set()
        for base, name in imports(path.read_text("utf-8"), package):
            target = f"{base}.{name}" if f"{base}.{name}" in files else base
            own_door = module.startswith(f"{target}.")  # Python has imported it already.
            if target in files and target != module and not own_door:
                graph[module].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


FILES = modules(SOURCE)


def test_every_room_imports_only_what_it_may():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room not in {"__init__", "__main__"}:
            names = forbidden(path.read_text("utf-8"), room)
            wrong += [f"{path.relative_to(SOURCE)} imports {name}" for name in names]
    assert wrong == []


def test_between_rooms_only_doors():
    wrong = []
    for module, path in FILES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        if package != "uncollapse":
            names = around_doors(path.read_text("utf-8"), package)
            wrong += [f"{module}: {name}" for name in names]
    assert wrong == []


def test_tests_of_a_room_enter_other_rooms_by_their_doors():
    wrong = []
    for path in Path(__file__).parent.rglob("*.py"):
        folder = path.parent.name if path.parent.name in MAY_IMPORT else "tests"
        names = around_doors(path.read_text("utf-8"), f"uncollapse.{folder}")
        wrong += [f"{path.name}: {name}" for name in names if path != Path(__file__)]
    assert wrong == []


def test_no_circle_of_imports():
    assert circle(FILES) == []


def test_every_package_is_a_room_with_a_rule():
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    names = {p.stem for p in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert packages == set(MAY_IMPORT)
    assert names == set(LEAVES)


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
def test_the_rule_of_rooms_can_fail(source):
    assert forbidden(source, "theory") == {"losses"}


@pytest.mark.parametrize(
    "source",
    [
        "from uncollapse.losses.supcl import supcl_loss",
        "import uncollapse.losses.supcl",
        "from uncollapse.losses import supcl",
        "from ..losses.supcl import supcl_loss",
        "def f():\n    from uncollapse.losses.supcl import supcl_loss",
    ],
)
def test_the_rule_of_doors_can_fail(source):
    assert around_doors(source, "uncollapse.training")
    assert not around_doors(source, "uncollapse.losses")


@pytest.mark.parametrize("back", ["from house.a import f", "def g():\n    from house import a"])
def test_the_rule_of_circles_can_fail(tmp_path, back):
    house = tmp_path / "house"
    house.mkdir()
    for name, source in {"__init__": "", "a": "from house.b import g", "b": back}.items():
        (house / f"{name}.py").write_text(source, "utf-8")
    assert set(circle(modules(house))) == {"house.a", "house.b"}


def test_theory_needs_no_optional_package():
    code = (
        "import uncollapse, uncollapse.theory, uncollapse.cli, sys; "
        "print({'torch', 'sklearn', 'pyarrow', 'cvxpy', 'pandas'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "set()"
