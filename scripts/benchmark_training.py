"""Time and weigh a training step against eager PyTorch, side by side.

    python scripts/benchmark_training.py [--size 256] [--batch 4] [--rounds 3]

Each side runs in a process of its own, in turns: the same net from the same parameters,
the loss of johnson2016 on the same VGG-16, Adam, the same photos. A step is both
networks forwards and backwards, and the update. The side "cached" makes all timed steps
in one call, on random crops of photos in memory, as ``--data-cache device`` does.
Printed are medians over all rounds: milliseconds a step, the time to the first step
(for jaxstyle that is compilation, without the persistent cache), the peak memory above
that with everything loaded, and the loss of the last step, which shows that jaxstyle
and PyTorch do the same; that of "cached" is of other crops. PyTorch must be installed,
and memory is read as Linux reports it.

With ``--profile FOLDER`` jaxstyle's sides make as many steps again, and record what the
device does in FOLDER, for XProf (``xprof FOLDER``) or https://ui.perfetto.dev.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarking import (
    add_torch_options,
    compare,
    measure,
    measure_calls,
    torch_mode,
    traced,
)

import jaxstyle
from jaxstyle.convert import from_torch
from jaxstyle.data import open_source, validation_batches
from jaxstyle.losses import LossConfig, Problem
from jaxstyle.optimize import run_steps
from jaxstyle.training import (
    TRAINING_PRESETS,
    State,
    Step,
    init_state,
    make_problem,
    make_step,
    take_batch,
)

LEARNING_RATE = 1e-3

STYLE_SIZE = 256
"""The longer side of the painting, in pixels."""

CACHED = 500
"""How many photos lie in memory."""

CALLS = 2
"""How often all timed steps are made in one call."""


def main() -> None:
    """Run all rounds of both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="side of the crops")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4, help="timed steps a round")
    parser.add_argument("--profile", metavar="FOLDER", help="record some steps there")
    sides = {
        "jaxstyle": measure_jaxstyle,
        "cached": measure_cached,
        "torch": measure_torch,
    }
    add_torch_options(parser)
    compare(parser, sides)


def measure_jaxstyle(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the step that ``jaxstyle train`` makes."""
    state, problem, one_step = make_training(arguments)
    photos, _ = load_images(arguments)
    improve = jax.jit(one_step, donate_argnums=0)

    def step() -> float:
        nonlocal state
        state, metrics = improve(state, photos, problem)
        return float(metrics["loss"])

    measured = measure(step, arguments.steps)
    with traced(arguments.profile):
        for _ in range(arguments.steps if arguments.profile else 0):
            step()
    return measured


def measure_cached(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the steps that it makes on photos in memory, many in one call."""
    state, problem, one_step = make_training(arguments)
    batch, size = arguments.batch, arguments.size
    larger = {"size": 9 * size // 8, "batch": max(batch, CACHED)}
    photos, _ = load_images(argparse.Namespace(**vars(arguments) | larger))
    album = jax.device_put(photos), jax.random.key(0)
    take = partial(take_batch, batch=batch, size=size)

    def step_on(state: Any, given: Any) -> Any:
        (photos, key), problem = given
        return one_step(state, take(photos, key, state.step), problem)

    steps = partial(run_steps, step_on, capacity=arguments.steps)
    improve = jax.jit(steps, donate_argnums=0)

    def advance(count: int) -> float:
        nonlocal state
        state, metrics = improve(state, (album, problem), count)
        return float(metrics["loss"][count - 1])

    measured = measure_calls(advance, [arguments.steps] * CALLS)
    with traced(arguments.profile):
        if arguments.profile:
            advance(arguments.steps)
    return measured


def make_training(arguments: argparse.Namespace) -> tuple[State, Problem, Step]:
    """Return jaxstyle's state before the first step, its problem, and its step."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.pth"
        save_torch_net(path)
        _, net = from_torch(path)
    vgg_params, loss = load_vgg()
    optimizer = optax.adam(LEARNING_RATE)
    _, style = load_images(arguments)
    if jax.default_backend() == "cpu":
        vgg_params = jax.jit(jaxstyle.vgg.prepare_for_cpu)(vgg_params)
    problem = jax.jit(make_problem)(vgg_params, [style], loss.weights())
    net = jax.tree.map(jnp.asarray, net)
    state = jax.jit(lambda net: init_state(net, optimizer))(net)
    dtype = jnp.bfloat16 if arguments.bfloat16 else jnp.float32
    return state, problem, make_step(optimizer, dtype=dtype)


def measure_torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the same step in PyTorch."""
    with torch_mode(arguments) as prepare:
        net, loss_of = torch_loss(arguments)
        optimizer = torch_adam(net)
        evaluate = prepare(loss_of)

        def step() -> float:
            optimizer.zero_grad()
            loss = evaluate()
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return measure(step, arguments.steps)


def torch_adam(net: Any) -> Any:
    """Return the optimizer of a net."""
    import torch

    return torch.optim.Adam(net.parameters(), LEARNING_RATE)


def torch_loss(arguments: argparse.Namespace) -> tuple[Any, Callable[[], Any]]:
    """Return a net, and what computes its loss on the photos."""
    import torch
    import torch_nets
    import torch_vgg

    params, loss = load_vgg()
    layers = {name: layer for name, layer in params.items() if name[:4] == "conv"}
    vgg = torch_vgg.make_network(layers, params, {})
    shallow = vgg._replace(convolutions=down_to(vgg.convolutions, *loss.content))
    photos, style = load_images(arguments)
    images = torch.tensor(photos).permute(0, 3, 1, 2).contiguous() / 255
    with torch.no_grad():
        painted = torch_vgg.compute_features(vgg, torch_vgg.to_tensor(style), "max")
    grams = {layer: torch_vgg.gram_matrix(painted[layer]) for layer in loss.style}
    net = make_torch_net()

    def loss_of() -> Any:
        with torch.no_grad():
            kept = torch_vgg.compute_features(shallow, images, "max")
        found = torch_vgg.compute_features(vgg, torch_nets.run_net(net, images), "max")
        content = weighted(loss.content, lambda layer: found[layer] - kept[layer])
        style = weighted(
            loss.style,
            lambda layer: torch_vgg.gram_matrix(found[layer]) - grams[layer],
        )
        return content + style

    return net, loss_of


def weighted(weights: Mapping[str, float], difference: Callable[[str], Any]) -> Any:
    """Return the weighted sum of mean squares over layers."""
    return sum(w * difference(layer).square().mean() for layer, w in weights.items())


def down_to(convolutions: Mapping[str, Any], layer: str) -> dict[str, Any]:
    """Return the convolutions that a layer needs."""
    names = list(convolutions)
    last = names.index(layer.replace("relu", "conv"))
    return {name: convolutions[name] for name in names[: last + 1]}


def make_torch_net() -> Any:
    """Return the net from which both sides start."""
    import torch
    from torch_nets import TransformerNet

    torch.manual_seed(0)
    return TransformerNet()


def save_torch_net(path: Path) -> None:
    """Write the parameters of that net."""
    import torch

    torch.save(make_torch_net().state_dict(), path)


def load_vgg() -> tuple[Mapping[str, Any], LossConfig]:
    """Return the normalized network and the loss of the preset johnson2016."""
    loss = TRAINING_PRESETS["johnson2016"].loss
    layers = (*loss.content, *loss.style)
    params = jaxstyle.vgg.truncate(jaxstyle.load_vgg(), layers)
    return jaxstyle.vgg.normalize(params), loss


def load_images(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of 8-bit photos, and a painting in [0, 1]."""
    examples = Path(jaxstyle.__file__).parent / "examples"
    source = open_source(str(examples))
    photos = next(validation_batches(source, size=arguments.size, batch=len(source)))
    painting = examples / "starry_night.jpg"
    return (
        np.resize(photos, (arguments.batch, *photos.shape[1:])),
        jaxstyle.load_image(painting, longest_side=STYLE_SIZE),
    )


if __name__ == "__main__":
    main()
