"""A hook of MkDocs: the site keeps the repository's paths, so one link holds on both.

docs/ stays docs/, and what pages link to outside docs/ comes along. Two pages have addresses of
their own: docs/index.md is what the site opens with, README.md stands beside it.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OUTSIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "configs/*")
ADDRESSES = {"docs/index.md": "index.html", "README.md": "overview.html"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Place every file of the repository at its own path; the theme's stay where they are."""
    root = Path(config.docs_dir).parent
    theme = [file for file in files if file.src_dir != config.docs_dir]
    inside = [Path(file.abs_src_path) for file in files if file.src_dir == config.docs_dir]
    outside = [path for pattern in OUTSIDE for path in sorted(root.glob(pattern))]
    own = [
        File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path))
        for path in (*outside, *inside)
    ]
    for file in own:
        file.dest_uri = ADDRESSES.get(file.src_uri, file.dest_uri)
    return Files([*theme, *own])
