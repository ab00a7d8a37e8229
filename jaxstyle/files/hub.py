"""Styles on the Hugging Face hub: downloaded into its cache, and published.

The package huggingface_hub does the transport and reads ``HF_TOKEN``, ``HF_HOME``,
``HF_ENDPOINT`` and the like as usual.
"""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxstyle.files.atomic import describe_error, explained

PREFIX = "hf:"
"""The prefix of a style on the hub."""

STYLE, CARD, PICTURE = "style.safetensors", "README.md", "example.jpg"
"""The files of a repository; only the first is ever downloaded."""

FORM = f"{PREFIX}USER/REPO"

LOG_IN = "set HF_TOKEN, or log in with: hf auth login"

HINTS = {
    401: f"; no such repository, or one that needs a valid token: {LOG_IN}",
    403: "; the token may not do that",
    404: "; no such repository, or a private one",
}
"""Advice by the HTTP status with which the hub refuses."""


def is_address(name_or_path: str | Path) -> bool:
    """Tell hub addresses from other names of styles."""
    return str(name_or_path).startswith(PREFIX)


def parse_address(text: str) -> tuple[str, str | None]:
    """Parse ``hf:USER/REPO[@REVISION]``: a branch, tag or commit, or the latest."""
    repo, at, revision = text.removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise ValueError(f"no revision in {text}: expected {FORM}@REVISION")
    check_repo(repo)
    return repo, revision or None


def check_repo(repo: str) -> None:
    """Raise a ValueError unless ``repo`` is a valid name of a repository."""
    form = f"no repository {repo!r} on the hub: expected USER/REPO"
    if repo.count("/") != 1:
        raise ValueError(form)
    try:
        _library().utils.validate_repo_id(repo)
    except _library().errors.HFValidationError as error:
        raise ValueError(f"{form}; {error}") from error


def pull_style(address: str) -> Path:
    """Download the style at ``hf:USER/REPO[@REVISION]``; return its cached file.

    A branch is checked for updates each time; offline, the cached file is used. A
    commit in the cache is used without a request.
    """
    repo, revision = parse_address(address)
    hub = _library()
    with explained(f"cannot fetch {address}", describe=_describe):
        cached = hub.try_to_load_from_cache(repo, STYLE, revision=revision)
        if not isinstance(cached, str):
            # One request; the download would retry for half a minute.
            hub.get_hf_file_metadata(hub.hf_hub_url(repo, STYLE, revision=revision))
        path = hub.hf_hub_download(repo, STYLE, revision=revision, **_user_agent())
    return Path(path)


def check_token() -> None:
    """Raise a ValueError unless there is a token, valid or not."""
    if not _library().get_token():
        raise ValueError(f"no token for the Hugging Face hub: {LOG_IN}")


def push_files(
    repo: str, files: Mapping[str, bytes], *, private: bool = False
) -> tuple[str, str]:
    """Publish files, contents by name, in one commit; create the repository if needed.

    Existing files are replaced. Returns the repository's page and the commit, which is
    the last one if nothing changed.
    """
    hub = _library()
    api = hub.HfApi(**_user_agent())
    with explained(f"cannot push to {repo}", describe=_describe):
        # None leaves it to the user's or organization's own default.
        page = str(api.create_repo(repo, private=private or None, exist_ok=True))
        public = private and not api.model_info(repo).private
    if public:
        raise ValueError(
            f"{repo} is there already, and public; leave out --private, make the "
            f"repository private on {page}/settings, or push to another one"
        )

    def describe(error: BaseException) -> str:
        return f"{_describe(error)}; the repository is there, and may have no files"

    with explained(f"cannot push to {repo}", describe=describe):
        commit = api.create_commit(
            repo,
            [hub.CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message="Push a style by jaxstyle",
        )
    return page, str(commit.oid)


def _library() -> Any:
    """Import huggingface_hub."""
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


def _describe(error: BaseException) -> str:
    """Describe what the hub answered, and what may help, in one line."""
    errors = _library().errors
    if isinstance(error, RuntimeError) and error.__cause__:  # a failed upload
        return _describe(error.__cause__)
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"there is no {STYLE}, which jaxstyle push writes"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        told = " ".join((error.server_message or "").split()).rstrip(".")
        answer = f"the hub answers {status}" + (f", {told}" if told else "")
        return answer + HINTS.get(status, "")
    if type(error).__module__.startswith("httpx"):
        return f"cannot reach {_library().constants.ENDPOINT} ({describe_error(error)})"
    return describe_error(error)
