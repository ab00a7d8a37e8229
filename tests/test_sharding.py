"""Batches that lie on eight devices stay there, and give the numbers of one device.

The mesh has automatic axes: under explicit ones, which `jax.make_mesh` makes unless
told, JAX would have to be told the sharding of each reshape within.
"""

import subprocess
import sys

from process_runs import virtual_devices

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, jaxstyle
from jax.sharding import AxisType, NamedSharding, PartitionSpec

mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
divided = NamedSharding(mesh, PartitionSpec("batch"))
whole = NamedSharding(mesh, PartitionSpec())
images, contents = jax.random.uniform(jax.random.key(0), (2, 16, 18, 21, 3))


def check(name, found, expected):
    assert found.sharding.is_equivalent_to(divided, found.ndim), found.sharding
    assert {shard.data.shape[0] for shard in found.addressable_shards} == {2}
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    assert error < 1e-5, error
    assert np.ptp(np.asarray(expected)) > 0
    print(name)


net = jaxstyle.nets.init_net(jax.random.key(1), width=2, blocks=0)
program = jax.jit(jaxstyle.stylize)
found = program(jax.device_put(net, whole), jax.device_put(images, divided))
check("pictures", found, program(net, images))

vgg = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(jaxstyle.load_vgg(), ["relu1_2"]))
style = jax.random.uniform(jax.random.key(1), (20, 28, 3))
weights = jaxstyle.Weights({"relu1_2": 1.0}, {"relu1_1": 10.0}, isotropic_variation=1.0)


def total(vgg, images, contents, style):
    targets = jaxstyle.losses.make_targets(vgg, contents, [style], weights)
    losses, _ = jaxstyle.losses.perceptual_loss(vgg, images, targets, weights)
    return losses.sum(), losses


program = jax.jit(jax.grad(total, argnums=1, has_aux=True))
gradient, losses = program(
    jax.device_put(vgg, whole),
    jax.device_put(images, divided),
    jax.device_put(contents, divided),
    jax.device_put(style, whole),
)
expected_gradient, expected_losses = program(vgg, images, contents, style)
check("losses", losses, expected_losses)
check("gradient", gradient, expected_gradient)
"""


def test_a_divided_batch_stays_divided() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=virtual_devices(8),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["pictures", "losses", "gradient"]
