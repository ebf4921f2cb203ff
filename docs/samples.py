"""A hook of MkDocs: the site's sample reports and explorers, made while it is built.

The first report is that of the README's embeddings, the second of the pilot of `make demo`, whose
record lies in docs/study.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from uncollapse import ReportOptions, build_report
from uncollapse.report.explorer import explorer_page
from uncollapse.report.language import Code
from uncollapse.tables import Columns, ReferenceFiles

LANGUAGES: tuple[Code, ...] = ("en", "ja")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the samples beside the pages."""
    for name, page in _samples(Path(config.docs_dir)):
        files.append(File.generated(config, f"docs/samples/{name}.html", content=page))
    return files


def _samples(docs: Path) -> Iterator[tuple[str, str]]:
    options = ReportOptions(
        columns=Columns(fine="digit"), reference=ReferenceFiles(reference_embedding="pixels")
    )
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "emb.parquet"
        pq.write_table(_digits(), rows)
        embeddings = build_report(rows, options=options, folder=folder)
        pilot = build_report(docs / "study" / "demo-pilot.json", folder=docs / "study")
        for language in LANGUAGES:
            yield f"embeddings.{language}", replace(embeddings, language=language).to_html()
            yield f"pilot.{language}", replace(pilot, language=language).to_html()
            yield f"explorer.{language}", explorer_page(language)


def _digits() -> pa.Table:
    """As in the README: two components of pixels, labelled even or odd."""
    pixels, digit = load_digits(return_X_y=True)
    small = PCA(2, random_state=0).fit_transform(pixels)
    columns = {"embedding": list(small), "label": digit % 2}
    return pa.table(columns | {"pixels": list(pixels), "digit": digit})
