"""Devices that divide the rows of an image compute what one device does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import divided_runs
import jax
import jax.numpy as jnp
import pytest
from loss_checks import SHALLOW, Params, blots, evaluate
from net_samples import KINDS, random_images, random_net
from numeric_checks import assert_close
from process_runs import virtual_devices

from jaxstyle import stylize
from jaxstyle.losses import Execution, Objective, make_targets, perceptual_loss
from jaxstyle.nets import stylize_sharded
from jaxstyle.scaling import make_row_mesh
from jaxstyle.vgg import VGG

pytestmark = pytest.mark.usefixtures("plain_convolutions")

IMAGE = divided_runs.HEIGHT * divided_runs.WIDTH * 3
"""The values of the image; a layer has more."""


@pytest.fixture(scope="module")
def eight() -> dict[str, Any]:
    """What a process with eight devices has found."""
    done = subprocess.run(
        [sys.executable, str(Path(divided_runs.__file__))],
        env=virtual_devices(8),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    return found


def test_eight_devices_optimize_like_one(eight: dict[str, Any]) -> None:
    found = eight["optimization"]
    assert found["losses"] < 1e-9
    assert found["image"] < 1e-7 < 1e-3 < found["moved"]


def test_eight_devices_stylize_like_one(eight: dict[str, Any]) -> None:
    assert eight["net"]["image"] < 1e-9 < 1e-2 < eight["net"]["changed"]


def test_eight_devices_paint_like_one(eight: dict[str, Any]) -> None:
    found = eight["painting"]
    assert found["image"] < 1e-9 < 1e-2 < found["changed"]
    assert found["memory"] > 1


@pytest.mark.parametrize("what", ["optimization", "net"])
def test_activations_stay_where_they_are(eight: dict[str, Any], what: str) -> None:
    found = eight[what]
    assert found["gathered"] <= 1.2 * IMAGE  # with padding
    assert found["shard"] == [18, divided_runs.WIDTH, 3]
    assert found["memory"] > 2.5


# --- on one device, whose rows are padded as well -----------------------------------


@pytest.mark.parametrize(
    ("style_loss", "padding"), [("gram", "zero"), ("mean-std", "replicate")]
)
def test_rows_below_count_for_nothing(
    shallow: Params, style_loss: str, padding: str
) -> None:
    photo, painting = blots(0, 25, 32), blots(1, 31, 20)
    images = photo.at[10:20].add(0.1)
    check_the_same(
        shallow,
        images,
        photo,
        painting,
        objective=Objective(extractor=VGG(padding=padding), style_loss=style_loss),
        execution=Execution(mesh=make_row_mesh()),
    )


def test_blocks_may_be_computed_twice(shallow: Params) -> None:
    photos = jnp.stack([blots(0, 25, 32), blots(2, 25, 32)])
    check_the_same(
        shallow,
        photos[::-1],
        photos,
        blots(1, 31, 20),
        objective=Objective(extractor=VGG(pooling="l2")),
        execution=Execution(remat=True, mesh=make_row_mesh()),
    )


def check_the_same(
    params: Params,
    images: jax.Array,
    photo: jax.Array,
    painting: jax.Array,
    *,
    objective: Objective,
    execution: Execution,
) -> None:
    """Compare style targets, losses and gradients in float64."""
    with jax.enable_x64(True):
        arrays = jax.tree.map(
            lambda x: jnp.asarray(x, float), (params, images, photo, painting)
        )
        expected, found = (
            evaluate(*arrays, objective=objective, execution=how)[1:]
            for how in (Execution(), execution)
        )
        assert_close(found, expected, rtol=1e-9)


def test_rows_below_count_for_no_region(shallow: Params) -> None:
    photo, paintings = blots(0, 25, 32), [blots(1, 31, 20), blots(2, 20, 31)]
    rows = jnp.linspace(0, 1, 25)[:, None] * jnp.ones(32)
    part = jnp.zeros((31, 20)).at[20:].set(1)

    def run(execution: Execution) -> Any:
        def loss_of(image: jax.Array) -> Any:
            targets = make_targets(
                shallow,
                photo,
                paintings,
                SHALLOW,
                masks=[rows, 1 - rows],
                style_masks=[part, None],
                execution=execution,
            )
            return perceptual_loss(
                shallow, image, targets, SHALLOW, execution=execution
            )

        return jax.jit(jax.value_and_grad(loss_of, has_aux=True))(photo[::-1])

    assert_close(run(Execution(mesh=make_row_mesh())), run(Execution()))


def test_less_is_kept_of_blocks_that_are_computed_twice(raw: Params) -> None:
    """What the compiler makes of it differs: on CPUs it joins what is the same."""

    def bytes_kept(*, remat: bool) -> int:
        execution = Execution(remat=remat)
        weights = SHALLOW._replace(content={"relu4_1": 1.0}, style={"relu1_2": 1.0})

        def linearize(image: jax.Array, vgg: Params) -> Any:
            targets = make_targets(vgg, image, [image], weights)

            def loss_of(image: jax.Array) -> jax.Array:
                return perceptual_loss(
                    vgg, image, targets, weights, execution=execution
                )[0]

            return jax.vjp(loss_of, image)[1]

        kept = jax.eval_shape(linearize, blots(5, 480, 480), raw)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))

    assert bytes_kept(remat=True) < bytes_kept(remat=False) / 3


@pytest.mark.parametrize(
    ("kind", "shape"), [(KINDS[0], (2, 17, 18)), (KINDS[2], (45, 62))]
)
def test_nets_see_nothing_below(kind: dict[str, Any], shape: tuple[int, ...]) -> None:
    net = random_net(**kind, blocks=2, negative_slope=0.3)
    images = random_images(*shape, 3)
    mesh = make_row_mesh()
    found = jax.jit(lambda net, x: stylize_sharded(net, x, mesh))(net, images)
    assert_close(found, jax.jit(stylize)(net, images))


def test_tiles_and_devices_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="tile and mesh do not go together"):
        Execution(tile=64, mesh=make_row_mesh())


def test_precisions_have_names() -> None:
    with pytest.raises(ValueError, match="no precision 'half'; known are float32, "):
        Execution(precision="half")
