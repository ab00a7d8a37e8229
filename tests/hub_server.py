"""A stand-in for the Hugging Face hub: what huggingface_hub asks for, on loopback.

Text goes into commits as it is. All else is LFS, as on the hub: it is put to and got
from a store with an address of its own, and a commit holds only its SHA-256.
"""

import base64
import codecs
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_repos import File, Hub, Repo

WRITER, READER = "hf_writer", "hf_reader"
"""The tokens that are valid; the second may only read."""

OWNER = "alice"
"""To whom the first one belongs."""


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    is_store = False

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        where = f"{self.hub.store_url}{url.path}" if self.is_store else url.path
        # What lies right below /api the library gets for its own sake, not for a style.
        if (self.command, url.path.count("/")) != ("GET", 2):
            self.hub.requests.append((self.command, where, token))
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        try:
            if status := self.hub.store_status if self.is_store else self.hub.status:
                raise RefusalError(status, "Not now.")
            answer = self._stored if self.is_store else self._asked
            answer(parts, body, token)
        except RefusalError as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._send_json({"error": refusal.message}, refusal.status, headers)

    # --- the hub ----------------------------------------------------------------------

    def _asked(self, parts: list[str], body: bytes, token: str) -> None:
        if token and token not in (WRITER, READER):
            raise RefusalError(401, "Invalid username or password.")
        match self.command, parts:
            case "POST", ["api", "repos", "create"]:
                self._create(json.loads(body), token)
            case "POST", ["api", "validate-yaml"]:
                self._validate(json.loads(body)["content"])
            case "POST", ["api", "models", user, name, "preupload", branch]:
                repo = self._repo(user, name, token, write=True)
                self._preupload(repo, json.loads(body)["files"], branch)
            case "POST", [user, name, "info", "lfs", "objects", "batch"]:
                self._repo(user, name.removesuffix(".git"), token, write=True)
                self._batch(json.loads(body)["objects"])
            case "POST", ["api", "models", user, name, "commit", branch]:
                repo = self._repo(user, name, token, write=True)
                self._commit(repo, body, branch, f"{self.hub.url}/{user}/{name}")
            case "GET", ["api", "models", user, name, *_]:
                repo = self._repo(user, name, token)
                about = {"id": f"{user}/{name}", "private": repo.private}
                self._send_json({**about, "sha": repo.branches.get("main")})
            case "GET" | "HEAD", [user, name, "resolve", revision, path]:
                self._resolve(self._repo(user, name, token), revision, path)
            case _:
                raise RefusalError(404, f"{self.command} {self.path} is unknown here")

    def _repo(self, user: str, name: str, token: str, *, write: bool = False) -> Repo:
        """Return a repository; the hub hides whether one is there from strangers."""
        repo = self.hub.repos.get(f"{user}/{name}")
        if repo is None or (repo.private and not token):
            status, message = (
                (404, "Repository not found")
                if token
                else (401, "Invalid username or password.")
            )
            raise RefusalError(status, message, "RepoNotFound")
        if write:
            self._check_writer(user, token)
        return repo

    def _check_writer(self, user: str, token: str) -> None:
        if token != WRITER or user != OWNER:
            raise RefusalError(
                403, f'You don\'t have the rights to write to the namespace "{user}"'
            )

    def _create(self, wanted: dict[str, Any], token: str) -> None:
        user, name = wanted["organization"], wanted["name"]
        self._check_writer(user, token)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        known = f"{user}/{name}" in self.hub.repos
        self.hub.repos.setdefault(f"{user}/{name}", Repo(private))
        self._send_json(
            {"url": f"{self.hub.url}/{user}/{name}"}, status=409 if known else 200
        )

    def _validate(self, content: str) -> None:
        errors = [] if content.startswith("---\n") else [{"message": "no metadata"}]
        if "license: nonsense" in content:
            errors = [{"message": '"license" must be one of [mit, ...]'}]
        self._send_json(
            {"errors": errors, "warnings": []}, status=400 if errors else 200
        )

    def _preupload(self, repo: Repo, files: list[dict[str, Any]], branch: str) -> None:
        known = repo.files(branch) or {}
        answers = []
        for file in files:
            path = file["path"]
            mode = "lfs" if _is_binary(base64.b64decode(file["sample"])) else "regular"
            oid = known[path].digest if path in known else None
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            answers.append({**answer, "oid": oid})
        self._send_json({"files": answers})

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        answers = []
        for wanted in objects:
            href = f"{self.hub.store_url}/{wanted['oid']}"
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.store:
                answer["actions"] = {"upload": {"href": href}}
            answers.append(answer)
        self._send_json({"transfer": "basic", "objects": answers})

    def _commit(self, repo: Repo, body: bytes, branch: str, page: str) -> None:
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif item["key"] == "lfsFile":
                content = self.hub.store.get(value["oid"])
                if content is None:
                    raise RefusalError(400, f"{value['path']} was not uploaded")
                files[value["path"]] = File(content, True)
        name = repo.commit(files, branch)
        self._send_json({"commitUrl": f"{page}/commit/{name}", "commitOid": name})

    def _resolve(self, repo: Repo, revision: str, path: str) -> None:
        files = repo.files(revision)
        if files is None:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if path not in files:
            raise RefusalError(404, "Entry not found", "EntryNotFound")
        file = files[path]
        headers = {"X-Repo-Commit": repo.branches.get(revision, revision)}
        etag = f'"{file.digest}"'
        if not file.large:
            self._send(200, file.content, {**headers, "ETag": etag})
            return
        length = str(len(file.content))
        headers |= {"X-Linked-ETag": etag, "X-Linked-Size": length}
        headers["Location"] = f"{self.hub.store_url}/{file.digest}"
        self._send(302, b"", headers)

    # --- the store --------------------------------------------------------------------

    def _stored(self, parts: list[str], body: bytes, token: str) -> None:
        (oid,) = parts
        if token:
            raise RefusalError(400, "the token has gone to a stranger")
        if self.command == "PUT":
            if hashlib.sha256(body).hexdigest() != oid:
                raise RefusalError(400, "the content has another SHA-256")
            self.hub.store[oid] = body
            self._send(200, b"", {})
        elif oid in self.hub.store:
            self._send(200, self.hub.store[oid], {"ETag": f'"{oid}"'})
        else:
            raise RefusalError(404, "no such object")

    # --- answers ----------------------------------------------------------------------

    def _send_json(
        self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(status, json.dumps(value).encode(), {**kind, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _is_binary(sample: bytes) -> bool:
    """Judge by the beginning of a file, which may end within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return True
    return b"\0" in sample


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run the hub and its store in threads."""
    hub = Hub()
    with ExitStack() as stack:
        handlers = [
            type("Handler", (_Handler,), {"hub": hub, "is_store": is_store})
            for is_store in (False, True)
        ]
        hub.url, hub.store_url = (
            stack.enter_context(_running(handler)) for handler in handlers
        )
        yield hub


@contextmanager
def _running(handler: type[_Handler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
