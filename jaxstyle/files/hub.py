"""Styles on the Hugging Face hub: fetched into its cache, and published.

The package huggingface_hub does the transport. The token, the cache, proxies and the
address of the hub are its own business: ``HF_TOKEN``, ``HF_HOME``, ``HF_ENDPOINT`` and
the like work as they do everywhere.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

PREFIX = "hf:"
"""What marks a style on the hub."""

STYLE, CARD, PICTURE = "style.safetensors", "README.md", "example.jpg"
"""The files of a repository; only the first is ever fetched."""

FORM = f"{PREFIX}USER/REPO"

LOG_IN = "set HF_TOKEN, or log in with: hf auth login"

HINTS = {
    401: (f"no such repository, or one that needs a valid token: {LOG_IN}",),
    403: ("the token may not do that",),
    404: ("no such repository, or a private one",),
}
"""What may help when the hub refuses, by the status that it answers."""


class Address(NamedTuple):
    """A repository ``USER/REPO``, and a branch, tag or commit of it, or the latest."""

    repo: str
    revision: str | None


def is_address(name_or_path: str | Path) -> bool:
    """Return whether a style is one on the hub."""
    return str(name_or_path).startswith(PREFIX)


def parse_address(text: str) -> Address:
    """Take ``hf:USER/REPO`` or ``hf:USER/REPO@REVISION`` apart.

    Raises:
        ValueError: it has another form, or huggingface_hub is not installed.
    """
    repo, at, revision = text.removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise ValueError(f"no revision in {text}: expected {FORM}@REVISION")
    check_repo(repo)
    return Address(repo, revision or None)


def check_repo(repo: str) -> None:
    """Raise a ValueError unless a repository may be called so on the hub."""
    form = f"no repository {repo!r} on the hub: expected USER/REPO"
    if repo.count("/") != 1:
        raise ValueError(form)
    try:
        _library().utils.validate_repo_id(repo)
    except _library().errors.HFValidationError as error:
        raise ValueError(f"{form}; {error}") from error


def pull_style(address: str) -> Path:
    """Fetch a style into the hub's cache, unless it is there, and return its file.

    A branch is asked for news each time; without a network, what was fetched last is
    taken. A commit that is in the cache is taken unasked.

    Args:
        address: ``hf:USER/REPO`` or ``hf:USER/REPO@REVISION``.

    Raises:
        ValueError: the address is malformed, there is no such repository, revision or
            style in it, the hub refuses or cannot be reached, or huggingface_hub is not
            installed.
    """
    repo, revision = parse_address(address)
    hub = _library()
    with _explained(f"cannot fetch {address}"):
        cached = hub.try_to_load_from_cache(repo, STYLE, revision=revision)
        if not isinstance(cached, str):
            # Asks once. The download would ask for half a minute before it gives up.
            hub.get_hf_file_metadata(hub.hf_hub_url(repo, STYLE, revision=revision))
        path = hub.hf_hub_download(repo, STYLE, revision=revision, **_user_agent())
    return Path(path)


def check_token() -> None:
    """Raise a ValueError unless there is a token, valid or not, to publish with."""
    if not _library().get_token():
        raise ValueError(f"no token for the Hugging Face hub: {LOG_IN}")


def push_files(
    repo: str, files: Mapping[str, bytes], *, private: bool = False
) -> tuple[str, str]:
    """Publish files in one commit, in a repository that is made if there is none.

    Args:
        repo: ``USER/REPO``.
        files: contents by name. Files that are there already are replaced.
        private: whether nobody else may see the repository.

    Returns:
        The repository's page, and the commit: the last one if nothing has changed.

    Raises:
        ValueError: the hub refuses or cannot be reached, or a repository that is to be
            private is public.
    """
    hub = _library()
    api = hub.HfApi(**_user_agent())
    with _explained(f"cannot push to {repo}"):
        # None leaves it to the user's or organization's own default.
        page = str(api.create_repo(repo, private=private or None, exist_ok=True))
        public = private and not api.model_info(repo).private
    if public:
        raise ValueError(
            f"{repo} is there already, and public; leave out --private, make the "
            f"repository private on {page}/settings, or push to another one"
        )
    with _explained(f"cannot push to {repo}"):
        commit = api.create_commit(
            repo,
            [hub.CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message="Push a style by jaxstyle",
        )
    return page, str(commit.oid)


def _library() -> Any:
    """Return huggingface_hub, whose names are imported on first use."""
    try:
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ValueError(
            "styles on the Hugging Face hub need the package huggingface_hub: "
            "pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _user_agent() -> dict[str, str]:
    return {"library_name": "jaxstyle", "library_version": metadata.version("jaxstyle")}


# --- what goes wrong ----------------------------------------------------------------


@contextmanager
def _explained(failure: str) -> Iterator[None]:
    """Turn whatever goes wrong in the library into a ``ValueError`` of one line.

    Everything is caught because errors of the network have no base class that the
    library's versions share, and a failed upload is a ``RuntimeError``.
    """
    try:
        yield
    except Exception as error:
        line = " ".join(_reason(error).split())
        raise ValueError(f"{failure}: {line}") from error


def _reason(error: BaseException) -> str:
    """Say what the hub has answered, and what may help."""
    errors = _library().errors
    if isinstance(error, RuntimeError) and error.__cause__:
        return _reason(error.__cause__)
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"there is no {STYLE}, which jaxstyle push writes"
    if isinstance(error, errors.HfHubHTTPError):
        status, told = error.response.status_code, error.server_message
        answer = f"the hub answers {status}" + (f", {told.rstrip('.')}" if told else "")
        return "; ".join([answer, *HINTS.get(status, ())])
    text = str(error) or type(error).__name__
    if type(error).__module__.startswith("httpx"):
        return f"cannot reach {_library().constants.ENDPOINT} ({text})"
    return text
