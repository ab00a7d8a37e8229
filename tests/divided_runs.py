"""Compares eight devices, which divide the rows of images, with one: prints JSON.

To be run by a process of its own, since devices cannot be added later.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from decoder_samples import fit_decoder, make_vgg
from jax.sharding import NamedSharding, PartitionSpec
from loss_checks import blots
from net_samples import random_net

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import Execution, Objective
from jaxstyle.optimize import steps as gatys
from jaxstyle.scaling import Layout
from jaxstyle.transport import Region, describe, stylize, stylize_sharded
from jaxstyle.vgg import VGG, layers

HEIGHT, WIDTH = 141, 90
"""A height that nothing divides, and that leaves some devices with padding only."""

WEIGHTS = Weights(
    {"relu3_1": 1.0},
    {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0},
    total_variation=1.0,
    isotropic_variation=1.0,
)

STEPS = 4

GATHERED = re.compile(r"= \(?(\w+\[[\d,]*\]).*? all-(?:gather|to-all)(?:-start)?\(")


def largest_gathered(program: Any) -> int:
    """Return the most values in an array that devices gather or exchange whole."""
    shapes = re.findall(r"\[([\d,]+)\]", " ".join(GATHERED.findall(program.as_text())))
    return max((int(np.prod([*map(int, s.split(","))])) for s in shapes), default=0)


def temporary(program: Any) -> int:
    return int(program.memory_analysis().temp_size_in_bytes)


def apart(one: Any, other: Any) -> float:
    """Return how far two arrays are apart, relative to the largest value."""
    one, other = np.asarray(one), np.asarray(other)
    return float(np.abs(one - other).max() / np.abs(one).max())


def compile_divided(
    function: Callable[..., Any], tree: Any, rest: Any, height: int, mesh: Any
) -> tuple[Any, Any, Any]:
    """Compile what takes and returns a tree of images; return its arguments too."""
    layout = Layout(height, mesh)
    placed = jax.jit(layout.shard)(tree)
    where = layout.shardings(placed)
    whole = NamedSharding(mesh, PartitionSpec())

    def run(tree: Any, rest: Any) -> Any:
        return layout.shard(function(layout.unshard(tree), rest))

    jitted = jax.jit(run, in_shardings=(where, whole), out_shardings=where)
    program = jitted.lower(placed, rest).compile()
    return program, jax.device_put(placed, where), jax.device_put(rest, whole)


def compare_optimization(mesh: Any) -> dict[str, Any]:
    """Make the same steps on one device and on all."""
    vgg = jaxstyle.vgg.normalize(
        jaxstyle.vgg.truncate(jaxstyle.load_vgg(), ["relu3_1"])
    )
    vgg = jax.tree.map(lambda x: np.asarray(x, float), vgg)
    photo, painting = blots(0, HEIGHT, WIDTH), blots(1, 70, 113)

    def steps(state: Any, images: Any, *, mesh: Any) -> Any:
        objective = Objective(
            extractor=VGG(padding="replicate"), style_loss="wasserstein"
        )
        execution = Execution(mesh=mesh)
        vgg, photo, painting = images
        targets = jaxstyle.losses.make_targets(
            vgg,
            photo,
            [painting],
            WEIGHTS,
            objective=objective,
            execution=execution,
        )
        step = gatys.make_step(
            jaxstyle.optimize.lbfgs(memory_size=4, mesh=mesh), execution=execution
        )
        problem = jaxstyle.losses.Problem(vgg, targets, WEIGHTS)
        state, metrics = gatys.run_steps(step, state, problem, STEPS, capacity=STEPS)
        return state._replace(step=metrics["loss"])  # a way out for the losses

    state = gatys.init_state(photo, jaxstyle.optimize.lbfgs(memory_size=4))
    images = (vgg, photo, painting)
    one = jax.jit(partial(steps, mesh=None)).lower(state, images).compile()
    expected = one(state, images)
    program, *given = compile_divided(
        partial(steps, mesh=mesh), state, images, HEIGHT, mesh
    )
    found = program(*given)
    return {
        "losses": apart(expected.step, found.step),
        "moved": apart(photo, expected.image),
        "image": apart(expected.image, np.asarray(found.image)[:HEIGHT]),
        "gathered": largest_gathered(program),
        "memory": temporary(one) / temporary(program),
        "shard": found.image.addressable_shards[0].data.shape,
    }


def compare_nets(mesh: Any) -> dict[str, Any]:
    """Stylize on one device and on all."""
    net, photo = random_net(width=8), blots(2, HEIGHT, WIDTH)
    one = jax.jit(lambda x, net: jaxstyle.stylize(net, x)).lower(photo, net).compile()
    program, *given = compile_divided(
        lambda x, net: jaxstyle.nets.stylize_sharded(net, x, mesh),
        photo,
        net,
        HEIGHT,
        mesh,
    )
    expected, found = one(photo, net), program(*given)
    return {
        "image": apart(expected, np.asarray(found)[:HEIGHT]),
        "changed": apart(photo, expected),
        "gathered": largest_gathered(program),
        "memory": temporary(one) / temporary(program),
        "shard": found.addressable_shards[0].data.shape,
    }


def compare_painting(mesh: Any) -> dict[str, Any]:
    """Paint like a painting on one device and on all, by narrow networks."""
    layers.WIDTHS = (8, 8, 16, 16, 16)
    vgg = make_vgg()
    transport = {"encoder": vgg, "decoder": fit_decoder(vgg)}
    transport = jax.tree.map(lambda x: np.asarray(x, float), transport)
    photo, mask = blots(3, 2 * HEIGHT, WIDTH), jnp.linspace(0, 1, WIDTH)
    painting = jax.jit(describe)(transport, blots(4, 70, 113) ** 2)
    regions = [Region(painting, jnp.broadcast_to(mask, photo.shape[:2]))]
    given = transport, photo, regions
    one = jax.jit(stylize).lower(*given).compile()
    program = jax.jit(partial(stylize_sharded, mesh=mesh)).lower(*given).compile()
    expected, found = one(*given), program(*given)
    return {
        "image": apart(expected, found),
        "changed": apart(photo, expected),
        "memory": temporary(one) / temporary(program),
    }


def main() -> None:
    """Compare in float64, where rounding hides nothing."""
    jax.config.update("jax_enable_x64", True)
    mesh = jaxstyle.scaling.make_row_mesh()
    results = {
        "devices": mesh.size,
        "net": compare_nets(mesh),
        "optimization": compare_optimization(mesh),
        "painting": compare_painting(mesh),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
