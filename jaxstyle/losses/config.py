"""The settings of the loss, and how a setting is declared: importable without JAX.

A setting is one line in a dataclass::

    steps: int = option(300, "how often the loss is evaluated")

`jaxstyle.cli.options` makes ``--steps`` of it, with help and checks; presets and
records hold it, and `documented` lists it in the docstring.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from jaxstyle.losses.objective import Objective, Weights

T = TypeVar("T")

LARGEST = 3e38
"""A number that just fits float32."""


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """What the command line needs to know about a field.

    Attributes:
        help: the explanation, to which the default is added. ``{sweepable}`` stands
            for the names of options that may be swept.
        parse: converts the text of a value; raises a ValueError that names what was
            expected. By default, whole numbers are at least 1.
        parse_for: makes ``parse`` of the dataclass of all options of a command, for a
            value that names other options.
        choices: the names that the value may have.
        metavar: stands for the value in the help; N by default for whole numbers.
        name: the name of the option, if it differs from that of the field.
        short: a second, short flag.
        positional: whether there is no flag.
        nargs: as in `argparse`.
        repeated: whether each use of the option adds a value.
        group: the heading of the help for this option and those that follow.
        exclusive: options with the same key exclude each other.
        update: ``update(preset's value, given value)``, the value that results; the
            given one by default.
        sweep: whether pictures that differ in it share their compiled programs, so
            that ``--sweep`` may try several values.
    """

    help: str
    parse: Callable[[str], Any] | None = None
    parse_for: Callable[[type], Callable[[str], Any]] | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    name: str | None = None
    short: str | None = None
    positional: bool = False
    nargs: str | None = None
    repeated: bool = False
    group: str | None = None
    exclusive: str | None = None
    update: Callable[[Any, Any], Any] | None = None
    sweep: bool = False


REQUIRED: Any = MISSING
"""The default of an option that must be given."""


def option(default: T, help: str, **info: Any) -> T:
    """Declare a field that is an option of the command line, by an `OptionInfo`."""
    metadata = {"option": OptionInfo(help=help, **info)}
    if isinstance(default, Mapping):  # which a dataclass would refuse
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def setting(default: T, help: str) -> T:
    """Declare a field that the command line does not offer."""
    return field(default=default, metadata={"help": help})


def documented(cls: type[T]) -> type[T]:
    """List the fields of a dataclass with their help in its docstring."""
    lines = [inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:"]
    for each in fields(cls):  # type: ignore[arg-type]
        info = each.metadata.get("option")
        text = each.metadata["help"] if info is None else info.help
        known = f" ({', '.join(info.choices)})" if info and info.choices else ""
        lines.append(f"    {each.name}: {text}{known}")
    cls.__doc__ = "\n".join(lines)
    return cls


# --- the values of options ----------------------------------------------------------


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    return _whole_number(text, least=1, most=2**31 - 1)


def nonnegative_int(text: str) -> int:
    """Parse a whole number of at least 0."""
    return _whole_number(text, least=0, most=2**31 - 1)


def seed_number(text: str) -> int:
    """Parse a whole number that seeds a random generator."""
    return _whole_number(text, least=0, most=2**32 - 1)


def _whole_number(text: str, *, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ValueError(
            f"expected a whole number from {least} to {most}, got {text!r}"
        )
    return value


def _number(text: str) -> float:
    """Parse a number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def nonnegative_float(text: str) -> float:
    """Parse a finite number that is not negative."""
    if not 0 <= (value := _number(text)) <= LARGEST:
        raise ValueError(f"expected a number of at least 0, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """Parse a finite number greater than 0."""
    value = nonnegative_float(text)
    if value == 0:
        raise ValueError("expected a number greater than 0, got 0")
    return value


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    if not 0 <= (value := _number(text)) <= 1:
        raise ValueError(f"expected a number from 0 to 1, got {text!r}")
    return value


def file_name(text: str) -> str:
    """Parse the name of a file, which need not exist."""
    if not text:
        raise ValueError("expected the name of a file, got ''")
    return text


def parse_weights(text: str) -> float | Mapping[str, float]:
    """Parse a weight for all layers, or one for each: ``relu1_2=1e4,relu2_2=1e3``."""
    if "=" not in text:
        return nonnegative_float(text)
    form = "LAYER=NUMBER,LAYER=NUMBER,... with numbers of at least 0"
    pairs = _split_pairs(text, form)
    try:
        return {layer: nonnegative_float(value) for layer, value in pairs}
    except ValueError as error:
        raise _wrong_form(text, form) from error


def parse_blend(text: str) -> list[float] | Mapping[str, list[float]]:
    """Parse the shares of styles, or by layer: ``relu1_1=2:1,relu4_1=0:1``."""
    if "=" not in text:
        return parse_shares(text)
    pairs = _split_pairs(text, "LAYER=NUMBER:NUMBER:...,...")
    return {layer: parse_shares(numbers.replace(":", ",")) for layer, numbers in pairs}


def parse_shares(text: str) -> list[float]:
    """Parse numbers separated by commas, none negative and not all zero."""
    values = [nonnegative_float(part) for part in text.split(",")]
    if not any(values):
        raise ValueError(f"expected a number greater than 0, got {text!r}")
    return values


def _split_pairs(text: str, form: str) -> list[tuple[str, str]]:
    """Split ``LAYER=VALUE,LAYER=VALUE,...``, in which each layer occurs once."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    layers = {layer for layer, _, _ in pairs}
    if "" in layers or len(layers) < len(pairs):
        raise _wrong_form(text, form)
    return [(layer, value) for layer, _, value in pairs]


def _wrong_form(text: str, form: str) -> ValueError:
    return ValueError(f"expected {form}, each layer once, got {text!r}")


# --- the settings of the loss --------------------------------------------------------


def scale_weights(
    weights: Mapping[str, float], given: float | Mapping[str, float]
) -> Mapping[str, float]:
    """Replace weights by those given, or scale them to a given mean.

    A mean keeps the proportions of the weights; those that are all 0 become equal.
    """
    if isinstance(given, Mapping):
        return given
    mean = sum(weights.values()) / len(weights)
    shares = {key: value / mean if mean else 1 for key, value in weights.items()}
    return {key: given * share for key, share in shares.items()}


JOHNSON_STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""The style layers of Johnson et al. (2016)."""


def weigh_shallow(layers: Sequence[str]) -> Mapping[str, float]:
    """Weigh each layer four times the next, as Crowson does, with a mean of 1."""
    shares = [4.0**-depth for depth in range(len(layers))]
    weights = (len(layers) * share / sum(shares) for share in shares)
    return dict(zip(layers, weights, strict=True))


def parse_style_loss(name: str) -> str:
    """Parse a key of `jaxstyle.losses.STYLE_LOSSES`, also of one that was added."""
    from jaxstyle.losses.style import STYLE_LOSSES  # needs JAX

    if name not in STYLE_LOSSES:
        raise ValueError(f"expected {', '.join(STYLE_LOSSES)}, got {name!r}")
    return name


@documented
@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the perceptual loss compares, and how much each part counts.

    Examples:
        >>> loss = jaxstyle.optimize.PRESETS["default"].loss
        >>> loss.weights().content
        {'relu4_2': 0.075}
        >>> loss.objective().style_loss
        'wasserstein'
    """

    content: Mapping[str, float] = option(
        REQUIRED,
        "weight of the content loss by layer: more keeps more of the photo",
        name="content_weight",
        metavar="W",
        parse=parse_weights,
        update=scale_weights,
        sweep=True,
        group="loss (a weight is a number, or LAYER=NUMBER,LAYER=NUMBER,... by layer)",
    )
    style: Mapping[str, float] = option(
        REQUIRED,
        "weight of the style loss by layer: more gives more style",
        name="style_weight",
        metavar="W",
        parse=parse_weights,
        update=scale_weights,
        sweep=True,
    )
    variation: Mapping[str, float] = option(
        {"total": 0.0},
        "weight of the variation by kind, total, absolute or isotropic: more gives a "
        "smoother picture",
        name="tv_weight",
        metavar="W",
        parse=nonnegative_float,
        update=scale_weights,
        sweep=True,
    )
    style_loss: str = option(
        "gram",
        "how styles are compared",
        metavar="gram|wasserstein|wasserstein-exact|mean|mean-std",
        parse=parse_style_loss,
    )
    scales: int = option(
        1,
        "compare the styles at N sizes, each half the one before: more see larger "
        "strokes",
        parse=positive_int,
    )
    blend: Sequence[float] | Mapping[str, Sequence[float]] | None = option(
        None,
        "how much each of several paintings counts, equally by default; or this by "
        "layer: LAYER=W:W:...,LAYER=W:W:...,...",
        metavar="W,W,...",
        parse=parse_blend,
    )
    vgg: str = option(
        "vgg16",
        "the network that extracts the features; vgg16 ships with jaxstyle",
        metavar="vgg16|vgg19|FILE",
    )
    activations: str = option(
        "layer",
        "normalize the network's mean activations to 1 by layer or by filter, or leave "
        "them raw",
        choices=("layer", "filter", "raw"),
    )
    pooling: str = option(
        "max", "the network's pooling", choices=("max", "average", "l2")
    )
    padding: str = option(
        "zero",
        "the border of the network's first convolution",
        choices=("zero", "replicate"),
    )

    def weights(self) -> "Weights":
        """Make the weights that `jaxstyle.optimize_image` and training take."""
        from jaxstyle.losses.multiscale import at_scale
        from jaxstyle.losses.objective import Weights

        style = {
            at_scale(layer, scale): weight / self.scales
            for scale in range(self.scales)
            for layer, weight in self.style.items()
        }
        variation = {f"{kind}_variation": x for kind, x in self.variation.items()}
        return Weights(self.content, style, **variation)

    def objective(self) -> "Objective":
        """Make the structure of the loss."""
        from jaxstyle.losses.extractor import Extractor
        from jaxstyle.losses.multiscale import Multiscale
        from jaxstyle.losses.objective import TRAINED_VGG, Objective

        extractor: Extractor = replace(
            TRAINED_VGG, pooling=self.pooling, padding=self.padding
        )
        if self.scales > 1:
            extractor = Multiscale(extractor, self.scales)
        return Objective(extractor=extractor, style_loss=self.style_loss)
