"""The notebook of the docs runs in a live kernel, and shows what is stored in it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
EPOCHS = 10


def _shown(notebook: nbformat.NotebookNode) -> list[tuple[str, ...]]:
    """Of each cell: what kinds of output it has, and the verdict of the record it shows."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [[o for o in cell.outputs if "data" in o] for cell in cells]
    return [
        (*sorted(o["data"]), o["data"]["text/plain"].split(":")[0])
        for found in outputs
        for o in found
        if o["data"]["text/plain"].startswith("<")
    ]


@pytest.mark.parametrize(
    "epochs",
    [
        pytest.param(2, marks=pytest.mark.slow),  # Every cell; verdicts need more.
        pytest.param(EPOCHS, marks=pytest.mark.case),
    ],
)
def test_the_notebook_runs_and_shows_what_is_stored_in_it(epochs, tmp_path):
    stored = nbformat.read(NOTEBOOK, 4)
    fresh = nbformat.read(NOTEBOOK, 4)
    first = next(cell for cell in fresh.cells if cell.cell_type == "code")
    assert f"epochs: {EPOCHS}\n" in first.source
    first.source = first.source.replace(f"epochs: {EPOCHS}\n", f"epochs: {epochs}\n")
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    if epochs == EPOCHS:
        assert _shown(fresh) == _shown(stored)
    assert [kinds for *kinds, _ in _shown(fresh)] == [kinds for *kinds, _ in _shown(stored)]
    assert {kind for *kinds, _ in _shown(stored) for kind in kinds} == {"text/html", "text/plain"}
    assert (tmp_path / "report.html").exists()
