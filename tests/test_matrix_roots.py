"""Square roots of matrices: by iterations and by eigenvalues, and their gradients."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close, assert_gradients

from jaxstyle.losses.matrix_roots import (
    eigen_root,
    newton_schulz_root,
    trace_of_newton_schulz_root,
    trace_of_root_of_product,
)

iterated = jax.jit(newton_schulz_root)
iterated_trace = jax.jit(trace_of_newton_schulz_root)
exact = jax.jit(partial(eigen_root, least=1e-6))

both_roots = pytest.mark.parametrize("root", [iterated, exact])

Root = Callable[[jax.Array], jax.Array]


def symmetric(*shape: int, seed: int = 0) -> np.ndarray:
    """Return positive definite matrices whose eigenvalues lie between 0.5 and 2."""
    generator = np.random.default_rng(seed)
    vectors = np.linalg.qr(generator.normal(size=shape))[0]
    values = generator.uniform(0.5, 2, size=shape[:-1])
    matrices = vectors * values[..., None, :] @ vectors.swapaxes(-2, -1)
    return np.asarray(matrices, np.float32)


def rotate(values: list[float]) -> jax.Array:
    """Return a matrix of given eigenvalues, none of whose entries is zero."""
    size = len(values)
    vectors = np.linalg.qr(np.random.default_rng(1).normal(size=(size, size)))[0]
    return jnp.asarray(np.float32(vectors * np.array(values) @ vectors.T))


def overlap(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the trace of the root of a product."""
    return trace_of_root_of_product(a, b, eigen_root(b, least=1e-6), least=1e-6)


# --- values -------------------------------------------------------------------------


@both_roots
@pytest.mark.parametrize("axes", [(), (3,), (2, 3)])
def test_the_square_of_the_root_is_the_matrix(
    root: Root, axes: tuple[int, ...]
) -> None:
    matrix = symmetric(*axes, 6, 6)
    found = root(jnp.asarray(matrix))
    assert found.shape == matrix.shape
    assert_close(found @ found, matrix, rtol=1e-5)
    assert_close(found, found.mT, rtol=1e-5)


@both_roots
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_roots_grow_with_the_root_of_the_scale(root: Root, scale: float) -> None:
    matrix = jnp.asarray(symmetric(6, 6))
    found = jax.jit(partial(eigen_root, least=1e-12)) if root is exact else root
    assert_close(found(scale * matrix), scale**0.5 * root(matrix))


@both_roots
def test_roots_stay_float64(root: Root) -> None:
    with jax.enable_x64(True):
        matrix = np.float64(symmetric(5, 5))
        found = root(jnp.asarray(matrix))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found @ found, matrix, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("share", "reached"),
    [(1e-2, 1.0), (1e-4, 1.0), (1e-5, 1.0), (1e-6, 0.937), (1e-7, 0.442)],
)
def test_iterations_reach_a_part_of_small_roots(share: float, reached: float) -> None:
    found = iterated(jnp.diag(jnp.array([1.0, share])))
    np.testing.assert_allclose(found[1, 1] / share**0.5, reached, atol=1e-3)


@pytest.mark.parametrize("share", [1e-2, 1e-4, 1e-6])
def test_eigenvalues_reach_all_of_small_roots(share: float) -> None:
    found = jax.jit(partial(eigen_root, least=1e-8))(jnp.diag(jnp.array([1.0, share])))
    np.testing.assert_allclose(found[1, 1], share**0.5, rtol=1e-5)


def test_rounding_below_the_least_eigenvalue_is_raised_to_it() -> None:
    root = jax.jit(partial(eigen_root, least=1e-4))
    found = root(rotate([1.0, 0.5, 1e-4, -1e-6]))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found), [1e-2, 1e-2, 0.5**0.5, 1], rtol=1e-3
    )


def test_the_trace_is_that_of_the_root() -> None:
    matrix = jnp.asarray(symmetric(3, 6, 6))
    expected = jnp.trace(iterated(matrix), axis1=-2, axis2=-1)
    assert_close(iterated_trace(matrix), expected)


def test_the_overlap_is_the_trace_of_the_root_of_the_product() -> None:
    a, b = symmetric(2, 6, 6)
    expected = np.sqrt(np.linalg.eigvals(np.float64(a) @ b)).sum()
    for pair in ((a, b), (b, a)):
        assert float(jax.jit(overlap)(*pair)) == pytest.approx(expected, rel=1e-5)


def test_an_overlap_has_the_axes_of_both() -> None:
    a, b = jnp.asarray(symmetric(3, 4, 4)), jnp.asarray(symmetric(4, 4, seed=1))
    found = jax.jit(overlap)(a, b)
    assert found.shape == (3,)
    assert_close(found, jax.jit(jax.vmap(overlap, (0, None)))(a, b))
    gradients = jax.jit(jax.grad(lambda a, b: overlap(a, b).sum(), (0, 1)))(a, b)
    assert [gradient.shape for gradient in gradients] == [(3, 4, 4), (4, 4)]


# --- where there is no root ---------------------------------------------------------


@pytest.mark.parametrize("below", [-0.5, -1e-2, -1e-3])
def test_iterations_that_diverge_give_zero(below: float) -> None:
    """As for a covariance that is lost in the rounding of what it is made of."""
    matrix = rotate([1.0, 0.5, below])
    np.testing.assert_array_equal(iterated(matrix), 0)
    value, gradient = jax.jit(jax.value_and_grad(trace_of_newton_schulz_root))(matrix)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    of_root = jax.jit(jax.grad(lambda x: (newton_schulz_root(x) ** 2).sum()))
    np.testing.assert_array_equal(of_root(matrix), 0)


def test_one_matrix_of_a_batch_may_diverge() -> None:
    sound = symmetric(3, 3)
    found = iterated(jnp.stack([jnp.asarray(sound), rotate([1.0, 0.5, -0.1])]))
    assert_close(found[0], iterated(sound))
    np.testing.assert_array_equal(found[1], 0)


def test_rounding_does_little_to_iterations() -> None:
    matrix = rotate([1.0, 0.5, -1e-7])
    expected = np.array(rotate([1.0, 0.5**0.5, 0.0]))
    np.testing.assert_allclose(iterated(matrix), expected, atol=1e-3)


def test_the_root_of_nothing_is_nothing() -> None:
    value, gradient = jax.jit(jax.value_and_grad(trace_of_newton_schulz_root))(
        jnp.zeros((3, 3))
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


# --- gradients ----------------------------------------------------------------------

# Functions of symmetric matrices: finite differences leave none but these symmetric.


def symmetrized(f: Root) -> Root:
    return lambda x: f((x + x.mT) / 2)


def test_the_gradient_of_iterations_is_that_of_finite_differences() -> None:
    mix = np.random.default_rng(2).normal(size=(4, 4))
    assert_gradients(
        symmetrized(lambda x: (newton_schulz_root(x) * mix).sum((-2, -1))),
        symmetric(2, 4, 4),
        order=2,
    )


def test_the_gradient_of_the_trace_is_that_of_finite_differences() -> None:
    of_trace = symmetrized(trace_of_newton_schulz_root)
    assert_gradients(of_trace, symmetric(2, 4, 4), order=2)


def test_the_gradient_of_the_overlap_is_that_of_finite_differences() -> None:
    a, b = symmetric(2, 4, 4)
    assert_gradients(lambda x, y: overlap((x + x.T) / 2, (y + y.T) / 2), a, b, order=2)


def test_the_gradient_of_an_overlap_is_finite_where_eigenvalues_coincide() -> None:
    a, b = 4 * jnp.eye(5), 9 * jnp.eye(5)
    of_a, of_b = jax.jit(jax.grad(overlap, (0, 1)))(a, b)
    assert_close(of_a, (9 / 4) ** 0.5 / 2 * jnp.eye(5))
    assert_close(of_b, (4 / 9) ** 0.5 / 2 * jnp.eye(5))


@pytest.mark.parametrize("share", [1.0, 1e-4])
def test_the_trace_has_the_gradient_of_the_whole_root(share: float) -> None:
    """Where iterations do not converge either."""
    matrix = rotate([1.0, 0.3, share])
    of_trace = jax.jit(jax.grad(trace_of_newton_schulz_root))(matrix)
    of_root = jax.jit(jax.grad(lambda x: jnp.trace(newton_schulz_root(x))))(matrix)
    assert_close(of_trace, of_root)


def test_iterations_limit_the_gradient_of_small_roots() -> None:
    """It is 1/2 over the root, less what the iterations miss."""
    gradient_of = jax.jit(jax.grad(trace_of_newton_schulz_root))
    fine, small = (
        gradient_of(jnp.diag(jnp.array([1.0, share])))[1, 1] for share in (1e-2, 1e-8)
    )
    assert float(fine) == pytest.approx(0.5 / 0.1, rel=1e-4)
    assert 0 < float(small) < 0.2 * 0.5 / 1e-4
