"""The optimizer, keeper and objective of ``jaxstyle optimize``, from its settings."""

from typing import Any, NamedTuple

import optax
from jax.sharding import Mesh

from jaxstyle.losses.objective import Execution, Objective
from jaxstyle.optimize.keepers import KEEPERS, Keeper
from jaxstyle.optimize.optimizers import OPTIMIZERS
from jaxstyle.optimize.presets import OptimizeConfig


class Method(NamedTuple):
    """What a program is compiled for: functions and names, no arrays."""

    optimizer: optax.GradientTransformationExtraArgs
    keeper: Keeper
    objective: Objective
    execution: Execution


def make_method(
    config: OptimizeConfig, *, mesh: Mesh | None = None, tile: int | None = None
) -> Method:
    """Make what is compiled.

    Args:
        config: the settings.
        mesh: the devices that share the rows of the picture.
        tile: the side of the tiles that are computed one after the other.

    Raises:
        ValueError: the optimizer has no learning rate, or no history.
    """
    optimizer, keeper = make_optimizer(config, mesh), KEEPERS[config.keep]()
    execution = Execution(precision=config.precision, mesh=mesh, tile=tile)
    return Method(optimizer, keeper, config.loss.objective(), execution)


def make_optimizer(
    config: OptimizeConfig, mesh: Mesh | None = None
) -> optax.GradientTransformationExtraArgs:
    """Make the optimizer; devices of a mesh share the rows of what L-BFGS remembers.

    Raises:
        ValueError: the optimizer has no learning rate, or no history.
    """
    options: dict[str, dict[str, Any]] = {
        "adam": {"learning_rate": config.learning_rate},
        "lbfgs": {"memory_size": config.history, "mesh": mesh},
    }
    chosen = config.optimizer
    if config.learning_rate is not None and chosen != "adam":
        raise ValueError(f"--learning-rate is for adam only, not for {chosen}")
    if config.history is not None and chosen != "lbfgs":
        raise ValueError(f"--history is for lbfgs only, not for {chosen}")
    given = {name: value for name, value in options[chosen].items() if value}
    return OPTIMIZERS[chosen](**given)
