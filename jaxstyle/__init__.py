"""Neural style transfer as pure functions of JAX arrays.

Images are floating-point RGB in [0, 1], channels last: one image ``[h, w, 3]`` or any
batch of them, ``[*n, h, w, 3]``. Parameters are nested dicts of arrays. No function but
those that read or write files has side effects: `jax.jit`, `jax.vmap`, `jax.grad` and
`jax.jvp` work on them. None is jitted: called without `jax.jit`, which the examples
leave out where arrays are small, they take several times as long.

What cannot work raises an error of one line that says what was expected: a
``TypeError`` if images are not floating-point, else a ``ValueError``. That holds for
wrong shapes, names and numbers; for files that are missing, damaged or something else,
all of whose problems are named at once; and for files that cannot be written, whose old
content stays then. Docstrings tell of errors beyond these.

The public names are those of the stub beside this file. Each is imported on first use,
so that ``import jaxstyle`` takes no time and loads no library.

Examples:
    Those of all functions go on from here, in miniature: for pictures worth looking at,
    take photos and paintings by `load_image`, and all of `load_vgg`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxstyle
    >>> photo = jax.random.uniform(jax.random.key(0), (16, 16, 3))
    >>> painting = jnp.indices((16, 16, 3)).sum(0) % 2.0
    >>> net = jaxstyle.load_style("great-wave-8")
    >>> vgg = jaxstyle.vgg.truncate(jaxstyle.load_vgg(), ["relu2_1"])
    >>> vgg = jaxstyle.vgg.normalize(vgg)
    >>> transport = jaxstyle.load_transport()
    >>> weights = jaxstyle.Weights(content={"relu2_1": 1.0}, style={"relu1_1": 1.0})
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
