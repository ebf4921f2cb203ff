"""The notebook of the docs runs in a live kernel, and shows what is stored in it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"


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


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_is_stored_in_it(tmp_path):
    stored = nbformat.read(NOTEBOOK, 4)
    fresh = nbformat.read(NOTEBOOK, 4)
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert _shown(fresh) == _shown(stored)
    assert {kind for *kinds, _ in _shown(stored) for kind in kinds} == {"text/html", "text/plain"}
    assert (tmp_path / "report.html").exists()
