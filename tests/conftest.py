"""Networks, images, folders and servers that several test files share."""

import gc
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coco_samples import Published
from command_line import save_pictures
from hub_repos import Hub
from hub_server import serve_hub
from record_samples import serve, write_photos
from stylize_samples import make_net, save_photo
from training_runs import make_nets_small, save_data

import jaxstyle
from jaxstyle.cli import runtime
from jaxstyle.cli.optimize import optimize_command, picture_run
from jaxstyle.data.sources import Source, open_source
from jaxstyle.kernels import convolutions
from jaxstyle.nets import transform_net
from jaxstyle.optimize.scenes import Scene
from jaxstyle.vgg import layers

GOLDEN = Path(__file__).parent / "golden" / "vgg16.npz"

Params = dict[str, Any]


# --- compiling ----------------------------------------------------------------------


QUICK = [
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_llvm_disable_expensive_passes=true",
]
if jax.__version_info__ < (0, 11):  # by way of MLIR, which takes most of it
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
"""What lets XLA compile for the CPU in about a third of the time."""


def pytest_configure(config: pytest.Config) -> None:
    """Compile quickly, and each program once: most of the time goes there.

    Programs run once here, on small images: optimizing them does not pay. They are kept
    in ``.pytest_cache`` for all processes of this run and for the next runs.
    """
    os.environ.setdefault("XLA_FLAGS", " ".join(QUICK))
    programs = config.rootpath / ".pytest_cache" / "programs"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(programs))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # JAX, imported above, has read these variables already.
    folder = os.environ["JAX_COMPILATION_CACHE_DIR"]
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    gc.set_threshold(50_000, 20, 50)  # tracing makes many objects that live long


# --- networks and images ------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_convolutions() -> Iterator[None]:
    """Let XLA's own convolutions run nets on the CPU too: they compile much faster.

    That both ways are the same is for test_convolutions.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "by_blocks", convolutions.directly)
        yield


@pytest.fixture(scope="session")
def raw() -> Params:
    """Oxford's VGG-16 down to relu5_1, as it ships."""
    params: Params = jax.tree.map(jnp.asarray, jaxstyle.load_vgg())
    return params


@pytest.fixture(scope="session")
def shallow(raw: Params) -> Params:
    """Its first three layers, normalized: quick to compile and to run."""
    return dict(jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu2_1"])))


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """What scripts/make_golden.py stored."""
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="session")
def content(golden: dict[str, np.ndarray]) -> jax.Array:
    """A photograph, [24, 32, 3]."""
    return jnp.asarray(golden["content"][10:34, 20:52] / np.float32(255))


@pytest.fixture(scope="session")
def style(golden: dict[str, np.ndarray]) -> jax.Array:
    """A painting of another size, [20, 28, 3]."""
    return jnp.asarray(golden["style"][10:30, 20:48] / np.float32(255))


@pytest.fixture(scope="session")
def noisy(golden: dict[str, np.ndarray]) -> jax.Array:
    """The photograph with noise, [24, 32, 3]."""
    return jnp.asarray(golden["image"][10:34, 20:52] / np.float32(255))


@pytest.fixture(scope="session")
def left() -> jax.Array:
    """A mask of the left half, [24, 32]."""
    return jnp.zeros((24, 32)).at[:, :16].set(1)


@pytest.fixture(scope="session")
def scene(
    content: jax.Array, style: jax.Array, noisy: jax.Array, left: jax.Array
) -> Scene:
    """Two styles, each for a half of the image; of the first one its upper half."""
    upper = jnp.zeros((20, 28)).at[:10].set(1)
    return Scene(content, [style, noisy], [left, 1 - left], [upper, None])


@pytest.fixture
def narrow_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the networks narrow, so that conversions take no time."""
    monkeypatch.setattr(layers, "WIDTHS", (2, 3, 4, 5, 6))


# --- the command line ---------------------------------------------------------------


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands say that they compile also where it takes no time."""

    @contextmanager
    def at_once(say: Callable[[str], object], line: str) -> Iterator[None]:
        say(line)
        yield

    for module in (runtime, optimize_command, picture_run):
        monkeypatch.setattr(module, "if_slow", at_once)
    monkeypatch.setattr(runtime, "PATIENCE", 0.0)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give ``jaxstyle`` a cache folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXSTYLE_CACHE", str(folder))
        yield folder


@pytest.fixture
def picture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with pictures."""
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with paintings and photos; make the nets trained there small."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_nets_small(patch)
        yield folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard error be a terminal, where progress bars are shown.

    It goes last among the fixtures of a test, after what captures the output, each time
    by a new file of a class of its own.
    """
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)


@pytest.fixture(scope="session")
def nets() -> dict[str, transform_net.Params]:
    """Two nets whose pictures look like their photos, but for what they add."""
    return {name: make_net(seed) for seed, name in enumerate(("wave", "udnie"))}


@pytest.fixture
def stylize_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nets: dict[str, transform_net.Params],
) -> Path:
    """Go to a folder with styles and a photo of 36x20 pixels."""
    monkeypatch.chdir(tmp_path)
    for name, net in nets.items():
        jaxstyle.save_style(net, f"{name}.safetensors", metadata={})
    save_photo("photo.png")
    return tmp_path


# --- photos and data sets -----------------------------------------------------------


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Fail where a thread that a test has started outlives it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert set(threading.enumerate()) <= before


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Ten photos in a folder."""
    write_photos(tmp_path / "photos", 10)
    return open_source(str(tmp_path / "photos"))


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Some of COCO, as it is published, on a server."""
    with serve({}) as server:
        yield Published(tmp_path_factory.mktemp("zips"), server)


@pytest.fixture
def published(published_once: Published) -> Iterator[Published]:
    """The same, not asked for yet, where the builder expects it."""
    published_once.server.requests.clear()
    published_once.server.breaks_after = None
    with published_once.expected():
        yield published_once


# --- the Hugging Face hub -----------------------------------------------------------


HUB_SETTINGS = (
    *("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"),
    "HF_HUB_DISABLE_PROGRESS_BARS",
)
"""What whoever runs the tests may have set for huggingface_hub."""


@pytest.fixture(scope="module")
def hub_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub on this machine, and huggingface_hub imported anew, which asks there."""

    def forget_library() -> None:
        for name in [
            name for name in sys.modules if name.startswith("huggingface_hub")
        ]:
            del sys.modules[name]

    with serve_hub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.setenv("HF_HUB_DISABLE_XET", "1")  # whose store the hub here has not
        patch.setenv("no_proxy", "127.0.0.1")
        for name in HUB_SETTINGS:
            patch.delenv(name, raising=False)
        forget_library()
        yield hub
        from huggingface_hub.utils import close_session

        close_session()
        forget_library()


@pytest.fixture
def hub(hub_once: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The same, empty as the cache is; fail where anybody else is asked."""
    hub_once.forget()
    shutil.rmtree(Path(os.environ["HF_HOME"]), ignore_errors=True)
    strangers = []
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            strangers.append(host)
            raise OSError(f"{host} is not this machine")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    yield hub_once
    assert strangers == []
