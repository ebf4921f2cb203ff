"""A folder as two services hand it out: just what their clients ask for to list and read files."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

DATA_SET, ACCOUNT, COMMIT = "me/shop", "account", "0" * 40
CHANGED = "Mon, 30 Nov 2026 12:00:00 GMT"


class Service(BaseHTTPRequestHandler):
    """Answers from a folder, a part of a file where one is asked for."""

    protocol_version = "HTTP/1.1"
    range_header = "Range"

    def __init__(self, folder: Path, *given):
        self.folder = folder
        super().__init__(*given)

    def log_message(self, *_):
        pass

    def answer(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def file(self, path: Path, **headers: str) -> None:
        body = path.read_bytes()
        asked = self.headers.get(self.range_header)
        if asked is None:
            return self.answer(body, ETag='"1"', **headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last) + 1 if last else None]
        ends = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
        return self.answer(part, 206, ETag='"1"', Content_Range=ends, **headers)

    def do_HEAD(self):
        self.do_GET()


class Hub(Service):
    """The hub of Hugging Face, with one data set."""

    def json(self, content: object, code: int = 200, **headers: str) -> None:
        self.answer(json.dumps(content).encode(), code, Content_Type="application/json", **headers)

    def do_GET(self):
        path, about = unquote(urlsplit(self.path).path), f"/api/datasets/{DATA_SET}"
        tree, files = f"{about}/tree/main", f"/datasets/{DATA_SET}/resolve/main/"
        if path in (about, f"{about}/revision/main"):
            self.json({"_id": "1", "id": DATA_SET, "sha": COMMIT, "siblings": []})
        elif path.startswith(tree) and (inside := self.folder / path[len(tree) + 1 :]).is_dir():
            self.json([self.entry(each) for each in sorted(inside.iterdir())])
        elif path.startswith(files) and (found := self.folder / path[len(files) :]).is_file():
            self.file(found, X_Repo_Commit=COMMIT)
        else:
            code = "EntryNotFound" if DATA_SET in path else "RepoNotFound"
            self.json({"error": code}, 404, X_Error_Code=code)

    def entry(self, path: Path) -> dict[str, object]:
        size = path.stat().st_size if path.is_file() else 0
        kind = "directory" if path.is_dir() else "file"
        return {
            "type": kind,
            "oid": COMMIT,
            "size": size,
            "path": str(path.relative_to(self.folder)),
        }


class Azure(Service):
    """The blobs of an account at Azure; a container is a folder."""

    range_header = "x-ms-range"

    def do_GET(self):
        url = urlsplit(self.path)
        place = self.folder / unquote(url.path).removeprefix(f"/{ACCOUNT}").strip("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if query.get("comp") == "list" and place.is_dir():
            self.answer(self.listed(place, **query).encode(), Content_Type="application/xml")
        elif query.get("restype") == "container" and place.is_dir():
            self.answer(b"")
        elif place.is_file():
            self.file(place, Last_Modified=CHANGED, x_ms_blob_type="BlockBlob")
        else:
            code = "BlobNotFound" if place.parent.is_dir() else "ContainerNotFound"
            self.answer(b"", 404, x_ms_error_code=code)

    def listed(self, container: Path, prefix: str = "", delimiter: str = "", **_: str) -> str:
        paths = [p for p in sorted(container.rglob("*")) if p.is_file()]
        names = [name for p in paths if (name := str(p.relative_to(container))).startswith(prefix)]
        deeper = {n for n in names if delimiter and delimiter in n[len(prefix) :]}
        ends = {prefix + n[len(prefix) :].split("/")[0] + "/" for n in deeper}
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Last-Modified>{CHANGED}</Last-Modified><Etag>1</Etag>"
            f"<Content-Length>{(container / name).stat().st_size}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in names
            if name not in deeper
        )
        blobs += "".join(f"<BlobPrefix><Name>{escape(e)}</Name></BlobPrefix>" for e in sorted(ends))
        body = f"<Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs><NextMarker/>"
        about = f'ContainerName="{container.name}"'
        return f'<?xml version="1.0"?><EnumerationResults {about}>{body}</EnumerationResults>'


@contextmanager
def served(kind: type[Service], folder: Path) -> Iterator[str]:
    """The address of a service that hands out a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
