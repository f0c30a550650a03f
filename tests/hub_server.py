"""A local server for the part of the Hugging Face Hub's protocol that downloads ask for.

As the real one, it redirects a renamed repository to its new name, and gives large files by a
redirect to another host, with their size and hash on the redirect.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = hashlib.sha1(b"the newest commit").hexdigest()  # of main; others have the same files
LARGE = (".safetensors", ".parquet")
RENAMED = {"/distilbert-base-uncased": "/distilbert/distilbert-base-uncased"}
RESOLVE = re.compile(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
API = re.compile(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.+))?)?")


@dataclass
class Hub:
    """The repositories `<folder>/<owner>/<name>/`, served at `url` within a `with`.

    `status`, if set, is the answer to every path that matches `failing`.
    """

    folder: Path
    status: int | None = None
    failing: str = ""
    requests: list[str] = field(default_factory=list)  # "METHOD /path" of each, in order

    def __enter__(self) -> "Hub":
        handler = type("Handler", (HubHandler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


class HubHandler(BaseHTTPRequestHandler):
    """Answers the requests; `hub` is given by a subclass."""

    hub: Hub
    commit = COMMIT
    protocol_version = "HTTP/1.1"  # a Keep-Alive connection, as the clients expect

    def do_GET(self):
        path, _, query = unquote(self.path).partition("?")
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status and re.search(self.hub.failing, path):
            return self.reply(self.hub.status)
        for old, new in RENAMED.items():
            if re.match(f"(/api/models)?{old}(/|$)", path):
                return self.reply(307, Location=path.replace(old, new))
        if path.startswith("/cdn/"):
            return self.send_file(self.hub.folder / path.removeprefix("/cdn/"))
        if match := RESOLVE.fullmatch(path):
            repository, revision, name = match.groups()
            self.commit = commit_of(revision)
            return self.resolve(repository, name)
        if match := API.fullmatch(path):
            repository, what, revision, folder = match.groups()
            self.commit = commit_of(revision)
            return self.describe(repository, what, folder, "recursive=true" in query.lower())
        return self.reply(404)

    do_HEAD = do_GET

    def resolve(self, repository: str, name: str):
        """A file: itself, or where to get it if it is large."""
        file = self.hub.folder / repository / name
        if not file.is_file():
            return self.missing(repository)
        if file.suffix not in LARGE:
            return self.send_file(file)
        linked = {"X-Linked-Size": str(file.stat().st_size), "X-Linked-ETag": f'"{sha256(file)}"'}
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
        location = f"{elsewhere}/cdn/{repository}/{name}"
        return self.reply(302, Location=location, **{"X-Repo-Commit": self.commit}, **linked)

    def describe(self, repository: str, what: str | None, folder: str | None, recursive: bool):
        """A repository, or the content of one of its folders."""
        root = self.hub.folder / repository
        listed = root / (folder or "")
        if not listed.is_dir():
            return self.missing(repository)
        found = listed.rglob("*") if recursive or what != "tree" else listed.iterdir()
        entries = [entry(path, root) for path in sorted(found)]
        if what == "tree":
            return self.send_json(entries)
        siblings = [{"rfilename": e["path"]} for e in entries if e["type"] == "file"]
        return self.send_json({"id": repository, "sha": self.commit, "siblings": siblings})

    def missing(self, repository: str):
        """404, with the header by which clients tell a missing file from a missing repository."""
        code = "EntryNotFound" if (self.hub.folder / repository).is_dir() else "RepoNotFound"
        return self.reply(404, **{"X-Error-Code": code, "X-Repo-Commit": self.commit})

    def send_file(self, file: Path):
        headers = {"ETag": f'"{sha256(file)}"', "X-Repo-Commit": self.commit}
        return self.reply(200, file.read_bytes(), **headers)

    def send_json(self, value):
        return self.reply(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def reply(self, status: int, body: bytes = b"", **headers: str):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        """Nothing: requests are in `hub.requests`."""


def commit_of(revision: str | None) -> str:
    """The commit that a revision names: itself, where it is one."""
    return revision if re.fullmatch("[0-9a-f]{40}", revision or "") else COMMIT


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def entry(path: Path, root: Path) -> dict:
    """A line of a listing."""
    name = str(path.relative_to(root))
    if path.is_dir():
        return {"type": "directory", "oid": COMMIT, "size": 0, "path": name}
    found = {"type": "file", "oid": sha256(path)[:40], "size": path.stat().st_size, "path": name}
    if path.suffix in LARGE:
        found["lfs"] = {"oid": sha256(path), "size": found["size"], "pointerSize": 134}
    return found
