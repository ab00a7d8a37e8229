"""What a stand-in for the Hugging Face hub holds."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class File(NamedTuple):
    """A file of a commit: its content, and whether the store has it."""

    content: bytes
    large: bool

    @property
    def digest(self) -> str:
        """What huggingface_hub compares with its own file, and the ETag."""
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        head = f"blob {len(self.content)}\0".encode()
        return hashlib.sha1(head + self.content).hexdigest()


@dataclass
class Repo:
    """A repository.

    Attributes:
        private: whether it is only there for those with a token.
        commits: the files after each commit, by its name.
        branches: the commit that each branch, and each tag, stands for.
    """

    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def files(self, revision: str = "main") -> dict[str, File] | None:
        return self.commits.get(self.branches.get(revision, revision))

    def commit(self, files: Mapping[str, File], branch: str = "main") -> str:
        """Add files to those that are there; return the name of the commit."""
        count = len(self.commits)
        name = hashlib.sha1(f"{branch} {count}".encode()).hexdigest()
        self.commits[name] = {**(self.files(branch) or {}), **files}
        self.branches[branch] = name
        return name


@dataclass
class Hub:
    """What the hub holds, and what it was asked for.

    Attributes:
        url, store_url: the addresses of the two servers.
        repos: by name.
        store: large files, by their SHA-256.
        status, store_status: what they refuse each request with, if they do.
        requests: method, path and token of each; of those to the store, the address.
    """

    url: str = ""
    store_url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    status: int | None = None
    store_status: int | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def forget(self) -> None:
        """Be as at the start."""
        self.repos, self.store, self.requests = {}, {}, []
        self.status = self.store_status = None

    def add(
        self, name: str, files: Mapping[str, bytes], *, private: bool = False
    ) -> str:
        """Commit files to a repository, all but the card large; name the commit."""
        made = {path: File(files[path], path != "README.md") for path in files}
        self.store |= {x.digest: x.content for x in made.values() if x.large}
        return self.repos.setdefault(name, Repo(private)).commit(made)
