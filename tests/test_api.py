"""The public names: all there, documented, and changed only on purpose."""

import ast
import importlib
import inspect
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from public_names import PACKAGES, PUBLIC, TOP

import jaxstyle

APART = ("jaxstyle.training.", "jaxstyle.transport.", "jaxstyle.video.")
"""Packages whose names others have, too."""

ITEMS = {
    name.rpartition(".")[2]: item
    for name, item in PUBLIC.items()
    if not name.startswith(APART)
}
"""The public names without their packages, those of some packages left out."""

# What users rely on. A change here is a change for them.
API = ast.parse(
    """
class Origin:
    attribution: str
    license: str

class Record:
    name: str
    data: bytes

class Source: ...

class Execution:
    precision: str | None = None
    remat: bool = False
    mesh: Mesh | None = None
    tile: int | None = None

class Keeper:
    init: Callable[[Image], Kept]
    update: Callable[[Kept, Image, Float[Array, ""], Image], Kept]
    picture: Callable[[Kept], Image]

class Layout:
    height: int
    mesh: Mesh | None

class LossConfig:
    content: Mapping[str, float] = REQUIRED
    style: Mapping[str, float] = REQUIRED
    variation: Mapping[str, float] = {"total": 0.0}
    style_loss: str = "gram"
    scales: int = 1
    blend: Sequence[float] | Mapping[str, Sequence[float]] | None = None
    vgg: str = "vgg16"
    activations: str = "layer"
    pooling: str = "max"
    padding: str = "zero"

class Moments:
    mean: Float[Array, "*n c"]
    second: Float[Array, "*n c c"]

class Network:
    apply: Callable[[Any, Images], Images]
    smallest_side: int = 1
    padded: Callable[..., Images] | None = None
    sharded: Callable[..., Images] | None = None
    tiled: Callable[..., Image] | None = None
    hold: Callable[[Any, Images], Any] | None = None

class Extractor: ...

class TransformNet:
    width: int = 32
    norm: str = "affine"
    blocks: int = 5
    negative_slope: float = 1.0
    upsampling: str = "nearest"
    noise: int = 0

class Objective:
    extractor: Extractor = TRAINED_VGG
    style_loss: str | StyleLoss = "gram"

class OptimizeConfig:
    summary: str = ""
    size: int = 512
    strength: float = 0.5
    style_scale: float = 1.0
    style_size: int | None = None
    init: str = "content"
    preserve_color: bool = False
    match_color: str | None = None
    loss: LossConfig
    steps: int = 300
    coarsest: int | None = None
    ratio: float = math.sqrt(2)
    last_scale_factor: int = 1
    optimizer: str = "lbfgs"
    keep: str = "best"
    learning_rate: float | None = None
    history: int | None = None
    precision: str = "float32"

class Multiscale:
    extractor: Extractor
    scales: int

class Problem:
    params: ExtractorParams
    targets: Targets
    weights: Weights

class State:
    image: Image
    kept: Kept
    optimizer_state: optax.OptState
    step: Int[Array, ""]

class StyleLoss:
    make_target: Callable[[Any], Any]
    compare: Callable[[Any, Any], Float[Array, "*n"]]
    statistic: Callable[[Float[Array, "*n h w c"]], Any] = moments

class Targets:
    content: Mapping[str, Float[Array, "*n _h _w _c"]]
    style: Mapping[str, Any]
    masks: Mapping[str, Float[Array, "regions _h _w"]] | None = None
    objective: Objective = field(default=DEFAULT_OBJECTIVE, metadata={"static": True})

class VGG:
    pooling: str = "max"
    padding: str = "zero"

class Weights:
    content: Mapping[str, Scalar]
    style: Mapping[str, Scalar]
    total_variation: Scalar = 0.0
    absolute_variation: Scalar = 0.0
    isotropic_variation: Scalar = 0.0

def absolute_variation(images: Images) -> Float[Array, "*n"]: ...

def adam(*, learning_rate: float = 0.02) -> optax.GradientTransformationExtraArgs: ...

def cache_folder() -> Path: ...

def content_loss(
    features: Float[Array, "*n h w c"], target: Float[Array, "*n h w c"]
) -> Float[Array, "*n"]: ...

def digest_params(params: Mapping[str, Any]) -> str: ...

def find_style(name_or_path: str | Path) -> Path: ...

def from_torch(path: str | Path) -> tuple[str, dict[str, Any]]: ...

def hold(params: Params, images: Float[Array, "n h w 3"]) -> dict[str, Any]: ...

def hold_out(source: Source, count: int) -> tuple[Source, Source]: ...

def load_params(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]: ...

def load_style_file(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]: ...

def make_batches(
    source: Source,
    *,
    size: int,
    batch: int,
    seed: int,
    start: int = 0,
    shorter_side: tuple[int, int] = SHORTER_SIDE,
    report: Report | None = None,
    workers: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches: ...

def make_sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Float[np.ndarray, "h w 3"]: ...

def measure_mean_activations(
    params: VGGParams, photos: Iterable[ArrayLike]
) -> dict[str, Any]: ...

def open_source(
    data: str, *, data_dir: str | Path | None = None, split: str = "train"
) -> Source: ...

def read_vgg(path: str | Path) -> tuple[str, dict[str, Any], Origin]: ...

def save_params(
    params: Mapping[str, Any], path: str | Path, *, metadata: Mapping[str, str]
) -> None: ...

def save_vgg(
    params: Mapping[str, Any],
    path: str | Path,
    *,
    network: str,
    origin: Origin,
    source: str,
    photos: int,
) -> None: ...

def shipped_styles() -> dict[str, Path]: ...
def shipped_paintings() -> dict[str, Path]: ...

def validation_batches(
    source: Source,
    *,
    size: int,
    batch: int,
    report: Report | None = None,
    workers: int | None = None,
) -> Batches: ...

def exact_wasserstein_loss(
    moments: Moments, target: Gaussian
) -> Float[Array, "*n"]: ...

def export_net(params: Params) -> export.Exported: ...

def export_painting(
    params: Mapping[str, Any], target: Painting, *, strength: ArrayLike = 1.0
) -> export.Exported: ...

def features(
    params: VGGParams,
    images: Images,
    *,
    pooling: str = "max",
    padding: str = "zero",
    dtype: DTypeLike | None = None,
) -> Features: ...

def gram_loss(
    moments: Moments, target: Float[Array, "*n c c"]
) -> Float[Array, "*n"]: ...

def gram_matrix(features: Float[Array, "*n h w c"]) -> Float[Array, "*n c c"]: ...

def init_net(
    key: Array,
    *,
    width: int = 32,
    norm: str = "affine",
    blocks: int = 5,
    negative_slope: float = 1.0,
    upsampling: str = "nearest",
    noise: int = 0,
) -> dict[str, Any]: ...

def init_state(
    image: Image, optimizer: optax.GradientTransformation, *, keeper: Keeper = BEST
) -> State: ...

def isotropic_variation(images: Images) -> Float[Array, "*n"]: ...

def keep_average(decay: float = 0.99) -> Keeper: ...

def keep_best() -> Keeper: ...

def layer_names(params: VGGParams) -> tuple[str, ...]: ...

def lbfgs(
    *, memory_size: int = 20, exponent: float = 0.25, mesh: Mesh | None = None
) -> optax.GradientTransformationExtraArgs: ...

def load_image(
    path: str | Path, *, longest_side: int | None = None, shrink_to: int | None = None
) -> Float[np.ndarray, "h w 3"]: ...

def load_settings(path: str | Path) -> dict[str, object]: ...

def load_style(name_or_path: str | Path) -> dict[str, Any]: ...

def load_painting(name_or_path: str | Path) -> Painting: ...

def load_transport(decoder: str | Path | None = None) -> dict[str, Any]: ...

def load_vgg(name_or_path: str | Path = "vgg16") -> dict[str, Any]: ...

def make_row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh: ...

def make_step(
    optimizer: optax.GradientTransformation,
    *,
    keeper: Keeper = BEST,
    execution: Execution = DEFAULT_EXECUTION,
) -> Step: ...

def make_targets(
    params: ExtractorParams,
    content: Images,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: StyleWeights | None = None,
    masks: Sequence[Mask] | None = None,
    style_masks: Sequence[Mask | None] | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> Targets: ...

def mean_loss(moments: Moments, target: Moments) -> Float[Array, "*n"]: ...

def mean_std_loss(moments: Moments, target: Moments) -> Float[Array, "*n"]: ...

def describe_style(params: VGGParams, images: Images) -> Descriptor: ...

def init_predictor(
    key: Array, descriptors: Descriptor, style: Params, *, hidden: int = 128
) -> Tree: ...

def join_style(trunk: Params, style: Params) -> Tree: ...

def predict_style(
    predictor: Predictor, descriptors: Descriptor, style: Params
) -> Tree: ...

def split_style(params: Params, *, part: str = NORMS) -> tuple[Tree, Tree]: ...

def stylize_each(trunk: Params, styles: Params, images: Images) -> Images: ...

def load_trunk(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]: ...

def save_trunk(
    many: Mapping[str, Any],
    path: str | Path,
    *,
    metadata: Mapping[str, str],
    compact: bool = False,
) -> None: ...

def mix_styles(
    nets: Sequence[Params], shares: ArrayLike | Sequence[float]
) -> Params: ...

def moments(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*#n h w"] | None = None
) -> Moments: ...

def normalize(params: VGGParams, *, per: str = "layer") -> VGGParams: ...

def optimize_image(
    params: Params,
    content: Image,
    styles: Sequence[Image],
    *,
    weights: Weights,
    init: Image | None = None,
    steps: int = 300,
    sizes: Sequence[int] | None = None,
    last_scale_factor: int = 1,
    style_scale: float = 1.0,
    optimizer: optax.GradientTransformation | None = None,
    keeper: Keeper = BEST,
    style_weights: StyleWeights | None = None,
    masks: Sequence[Mask] | None = None,
    style_masks: Sequence[Mask | None] | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[Image, Metrics]: ...

def perceptual_loss(
    params: ExtractorParams,
    images: Images,
    targets: Targets,
    weights: Weights,
    *,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[Float[Array, "*n"], Metrics]: ...

def prepare_for_cpu(params: VGGParams) -> VGGParams: ...

def pyramid_sizes(
    longest: int, *, smallest: int = SMALLEST, ratio: float = math.sqrt(2)
) -> tuple[int, ...]: ...

def run_steps(
    step: Callable[[AnyState, Any], tuple[AnyState, Metrics]],
    state: AnyState,
    problem: Any,
    count: ArrayLike,
    *,
    capacity: int,
) -> tuple[AnyState, Metrics]: ...

def restore_detail(photos: Images, small: Images, painted: Images) -> Images: ...

def save_image(
    image: ArrayLike, path: str | Path, *, settings: dict[str, object] | None = None
) -> None: ...

def save_painting(
    painting: Painting, path: str | Path, *, metadata: Mapping[str, str]
) -> None: ...

def save_style(
    params: Mapping[str, Any],
    path: str | Path,
    *,
    metadata: Mapping[str, str],
    trunk: str | Path | None = None,
) -> None: ...

def style_loss(
    gram: Float[Array, "*n c c"], target: Float[Array, "*n c c"]
) -> Float[Array, "*n"]: ...

def stylize(params: Params, images: Images) -> Images: ...

def stylize_sharded(params: Params, images: Images, mesh: Mesh) -> Images: ...

def stylize_tiled(params: Params, image: Image, *, tile: int) -> Image: ...

def to_onnx(params: Params) -> bytes: ...

def total_variation(images: Images) -> Float[Array, "*n"]: ...

def truncate(params: VGGParams, layers: Sequence[str]) -> VGGParams: ...

def wasserstein_loss(moments: Moments, target: Gaussian) -> Float[Array, "*n"]: ...
"""
)
DEFINITIONS: dict[str, Any] = {node.name: node for node in API.body}  # type: ignore[attr-defined]

every_name = pytest.mark.parametrize("name", DEFINITIONS)


def signature(definition: Any) -> str:
    """Return a function's parameters and result, or a class's fields, as written."""
    if isinstance(definition, ast.ClassDef):
        fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
        for node in fields:  # of a setting only the default
            if not isinstance(node.value, ast.Call):
                continue
            if ast.unparse(node.value.func) in ("option", "setting"):
                node.value = node.value.args[0]
            elif [keyword.arg for keyword in node.value.keywords] == ["metadata"]:
                node.value = None
        return "; ".join(map(ast.unparse, fields))
    return f"({ast.unparse(definition.args)}) -> {ast.unparse(definition.returns)}"


def test_the_public_names_are_these() -> None:
    assert {*ITEMS} == {
        *DEFINITIONS,
        *("NETWORKS", "PRESETS", "STYLE_LOSSES", "Params"),
    }
    assert [*TOP] == [
        *(
            "Params",
            "Weights",
            "load_image",
            "load_style",
            "load_transport",
            "load_vgg",
        ),
        "optimize_image",
        *("save_image", "save_style", "stylize"),
    ]
    assert [*PACKAGES] == [
        *("convert", "data", "files", "images", "losses", "nets", "optimize"),
        *("scaling", "training", "transport", "vgg", "video"),
    ]


@pytest.mark.parametrize("package", [jaxstyle, *PACKAGES.values()])
def test_public_names_are_completed(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))


def test_the_presets_are_these() -> None:
    presets = ["default", "crowson", "gatys2016", "johnson2016", "seed", "seed-noise"]
    assert list(jaxstyle.optimize.PRESETS) == presets


@every_name
def test_a_signature_is_changed_only_on_purpose(name: str) -> None:
    source = inspect.getsource(ITEMS[name])
    found = signature(ast.parse(source).body[0])
    assert found == signature(DEFINITIONS[name]), f"if this is meant, change {__file__}"


@every_name
def test_public_names_are_documented(name: str) -> None:
    doc = ITEMS[name].__doc__
    assert doc.splitlines()[0].endswith(".")


@pytest.mark.parametrize("package", [jaxstyle, *PACKAGES.values()])
def test_the_stub_names_the_modules_where_things_are(package: ModuleType) -> None:
    """Type checkers and editors read it instead of what runs."""
    imports = [
        node
        for node in ast.parse(
            Path(str(package.__file__)).with_suffix(".pyi").read_text()
        ).body
        if isinstance(node, ast.ImportFrom)
    ]
    found: dict[str, Any] = {}
    for node in imports:
        where = f"{package.__name__}.{node.module or ''}".rstrip(".")
        module = importlib.import_module(where)
        found |= {alias.name: getattr(module, alias.name) for alias in node.names}
    assert found == {name: getattr(package, name) for name in package.__all__}


def test_the_version_is_that_of_the_package() -> None:
    assert jaxstyle.__version__ == metadata.version("jaxstyle")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="stylizes"):
        _ = jaxstyle.stylizes  # type: ignore[attr-defined]
