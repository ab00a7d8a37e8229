"""Build the documentation: the pages of ``docs/`` and the API reference, as one site.

    pip install '.[docs]'
    python scripts/make_docs.py -o site

Writes a folder of pages to open in a browser, from disk or from any web server. They
load nothing from other servers. A warning of Sphinx's is an error, and so is a name in
a docstring that leads nowhere: then nothing is written.
"""

import argparse
import inspect
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from make_web_page import check_output, run_script

import jaxstyle

DOCS = Path(__file__).parents[1] / "docs"
"""The folder of Sphinx's ``conf.py``, of the Markdown pages and of their pictures."""

GUIDES = (
    *("command-line", "training", "from-jax", "benchmarks", "security", "design"),
)
"""The pages in Markdown, in order."""


class Page(NamedTuple):
    """A page, and the public names that are on it."""

    title: str
    names: Sequence[str]
    module: str = "jaxstyle"


PAGES: Mapping[str, Page] = {
    "pictures": Page(
        "Pictures in two lines",
        (
            *("stylize", "load_style", "save_style", "optimize_image", "load_vgg"),
            *("Weights", "load_image", "save_image", "load_transport", "Params"),
        ),
    ),
    "transport": Page(
        "Any painting in one pass",
        (
            *("stylize", "Region", "describe", "mix", "hold", "Move"),
            *("stylize_tiled", "stylize_sharded"),
        ),
        module="jaxstyle.transport",
    ),
    "nets": Page(
        "Transform nets",
        (
            *("init_net", "mix_styles", "split_style", "join_style", "stylize_each"),
            *("describe_style", "init_predictor", "predict_style"),
            *("hold", "TransformNet", "stylize_tiled", "stylize_sharded"),
            *("NETWORKS", "Network"),
        ),
        module="jaxstyle.nets",
    ),
    "video": Page(
        "Moving pictures",
        (
            *("make_step", "init_state", "State", "blend"),
            *("match_flows", "Motion", "warp", "warping_error", "is_cut"),
        ),
        module="jaxstyle.video",
    ),
    "images": Page(
        "Pictures larger than their strokes",
        ("restore_detail",),
        module="jaxstyle.images",
    ),
    "optimize": Page(
        "Style optimization",
        (
            *("pyramid_sizes", "PRESETS", "OptimizeConfig"),
            *("init_state", "make_step", "run_steps", "State"),
            *("lbfgs", "adam", "keep_best", "keep_average", "Keeper"),
        ),
        module="jaxstyle.optimize",
    ),
    "losses": Page(
        "Losses",
        (
            *("perceptual_loss", "Objective", "Execution", "make_targets", "Targets"),
            *("Problem", "Extractor", "Multiscale"),
            *("content_loss", "gram_matrix", "style_loss"),
            *("total_variation", "absolute_variation", "isotropic_variation"),
            "LossConfig",
            *("STYLE_LOSSES", "StyleLoss", "moments", "Moments", "gram_loss"),
            *("wasserstein_loss", "exact_wasserstein_loss"),
            *("mean_loss", "mean_std_loss"),
        ),
        module="jaxstyle.losses",
    ),
    "vgg": Page(
        "The VGG networks",
        (
            *("features", "VGG", "layer_names", "truncate", "normalize"),
            *("prepare_for_cpu", "measure_mean_activations"),
        ),
        module="jaxstyle.vgg",
    ),
    "scaling": Page(
        "Images on several devices",
        ("make_row_mesh", "Layout"),
        module="jaxstyle.scaling",
    ),
    "training": Page(
        "Training",
        (
            *("make_problem", "init_state", "make_step", "Step", "State"),
            *("take_batch", "evaluate", "measure_stylized"),
            *("init_many", "make_many_problem", "make_many_step", "evaluate_many"),
            *("aim", "Aims", "Pairs", "predict_net"),
            *("TRAINING_PRESETS", "TrainConfig"),
        ),
        module="jaxstyle.training",
    ),
    "data": Page(
        "Photos to train on",
        (
            *("open_source", "hold_out", "make_batches", "validation_batches"),
            *("Source", "Record"),
        ),
        module="jaxstyle.data",
    ),
    "files": Page(
        "Files",
        (
            *("load_settings", "shipped_styles", "find_style", "load_style_file"),
            *("shipped_paintings", "load_painting", "save_painting"),
            *("load_trunk", "save_trunk"),
            *("load_params", "save_params", "digest_params", "save_vgg", "Origin"),
            *("make_sheet", "cache_folder"),
        ),
        module="jaxstyle.files",
    ),
    "convert": Page(
        "Other frameworks",
        ("export_net", "export_painting", "to_onnx", "from_torch", "read_vgg"),
        module="jaxstyle.convert",
    ),
}
"""The pages of the API reference by name, in order."""

MEMBERS = [
    "   :members:",
    "   :member-order: bysource",
    "   :special-members: __len__, __getitem__",
]
"""The options of a directive that documents what a protocol requires, too."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    return run_script("make_docs", partial(make_site, arguments.output))


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder to make; one that exists must be empty",
    )
    return parser


def make_site(output: Path) -> None:
    """Let Sphinx make the site, and put it in its place if nothing went wrong."""
    try:
        from sphinx.cmd.build import build_main
    except ImportError as error:
        raise ImportError("Sphinx is not installed: pip install '.[docs]'") from error

    check_output(output)
    output = output.absolute()
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".docs-") as scratch:
        sources, site = Path(scratch, "sources"), Path(scratch, "site")
        shutil.copytree(DOCS, sources)
        for name, text in write_sources():
            Path(sources, f"{name}.rst").write_text(text)
        folders = (str(sources), str(site), "-d", str(Path(scratch, "doctrees")))
        if build_main(["-q", "-W", "--keep-going", *folders]):
            raise ValueError("Sphinx has warned, see above; no site was made")
        site.replace(output)
    print(f"open {output / 'index.html'}")


# --- pages --------------------------------------------------------------------------


def write_sources() -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the generated pages."""
    yield "index", write_index()
    for name, page in PAGES.items():
        yield f"api-{name}", write_page(page)


def write_index() -> str:
    """Return the first page: the guides, and all public names in a line each."""
    lines = [*heading("jaxstyle"), ".. automodule:: jaxstyle", ""]
    lines += [".. toctree::", "   :caption: Guides", ""]
    lines += [f"   {name}" for name in GUIDES]
    lines += ["", ".. toctree::", "   :caption: API reference", "   :hidden:", ""]
    lines += [f"   api-{name}" for name in PAGES]
    for name, page in PAGES.items():
        lines += ["", f".. rubric:: :doc:`api-{name}`", ""]
        lines += [f".. currentmodule:: {page.module}", ""]
        lines += [".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {public}" for public in page.names]
    return "\n".join([*lines, ""])


def write_page(page: Page) -> str:
    """Return a page: its names' docstrings one after the other."""
    lines = heading(page.title)
    if page.module != "jaxstyle":
        lines += [f".. automodule:: {page.module}", ""]
    lines += [f".. currentmodule:: {page.module}", ""]
    for name in page.names:
        lines += write_name(name, getattr(import_module(page.module), name))
    return "\n".join(lines)


def heading(title: str) -> list[str]:
    """Return a title's lines."""
    return [title, "=" * len(title), ""]


def write_name(name: str, item: Any) -> list[str]:
    """Return the directive that documents something by its docstring."""
    if isinstance(item, Mapping):
        entries = [f'   * ``"{key}"``: {describe(item[key])}' for key in item]
        return [f".. autodata:: {name}", "   :no-value:", "", *entries, ""]
    if inspect.isclass(item) or inspect.isfunction(item):
        kind = "class" if inspect.isclass(item) else "function"
        options = MEMBERS if getattr(item, "_is_protocol", False) else []
        return [f".. auto{kind}:: {name}", *options, ""]
    return [f".. autodata:: {name}", "   :no-value:", ""]


def describe(
    entry: jaxstyle.optimize.OptimizeConfig
    | jaxstyle.training.TrainConfig
    | jaxstyle.losses.StyleLoss
    | jaxstyle.nets.Network,
) -> str:
    """Return what an entry of a table is, in one line."""
    if isinstance(entry, jaxstyle.nets.Network):
        return f"`jaxstyle.{entry.apply.__name__}`"
    if isinstance(entry, jaxstyle.losses.StyleLoss):
        return f"`jaxstyle.losses.{entry.compare.__name__}`"
    return entry.summary


if __name__ == "__main__":
    sys.exit(main())
