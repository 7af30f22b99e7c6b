"""Rounded operands of products, wherever in a traced program they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.host.rounded_products import is_exact, is_product, products, rounded

ONE_AND_A_BIT = np.float32(1 + 2.0**-9)  # 1 in bfloat16 (7 bits), itself in TF32 (10 bits)
BETWEEN = np.float32(1 + 2.0**-7 + 2.0**-8)  # of two values of 7 bits: the even one is above
OPERAND = np.full((2, 2), ONE_AND_A_BIT)


@jax.custom_vjp
def own_derivative(x):
    return x @ x


own_derivative.defvjp(lambda x: (x @ x, x), lambda x, g: (2 * g @ x,))
PLACES = {
    "plain": lambda x: x @ x,
    "jit": jax.jit(lambda x: x @ x),
    "vmap": lambda x: jax.vmap(lambda row: row @ x)(x),
    "convolution": lambda x: jax.lax.conv(x[None], x[:, :, None], (1,), "VALID")[0],
    "scan": lambda x: jax.lax.scan(lambda c, _: (x @ x + 0 * c, None), x, length=2)[0],
    "while": lambda x: jax.lax.while_loop(lambda s: s[1] < 1, lambda s: (s[0] @ x, 1), (x, 0))[0],
    "cond": lambda x: jax.lax.cond(x.sum() > 0, lambda y: y @ y, lambda y: y, x),
    "checkpoint": jax.checkpoint(lambda x: x @ x),
    "custom_vjp": own_derivative,
    "gradient": jax.grad(lambda x: 0.5 * jnp.trace(x @ x.T @ jnp.ones_like(x))),
}


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_product_is(place):
    function = PLACES[place]
    exact = np.asarray(function(OPERAND))
    np.testing.assert_array_equal(jax.jit(rounded(function, 23))(OPERAND), exact)
    np.testing.assert_array_equal(jax.jit(rounded(function, 10))(OPERAND), exact)
    np.testing.assert_array_equal(
        jax.jit(rounded(function, 7))(OPERAND), function(np.ones_like(OPERAND))
    )


def test_rounds_to_nearest_as_the_type_does():
    values = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    values[0, :2] = ONE_AND_A_BIT, BETWEEN
    got = jax.jit(rounded(jnp.matmul, 7))(values, np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(got, jnp.asarray(values, jnp.bfloat16).astype(jnp.float32))


def test_the_precision_of_a_product_counts():
    function = lambda x: (jnp.matmul(x, x, precision="highest"), jnp.matmul(x, x, precision="high"))
    assert [is_exact(eqn) for eqn in products(function, OPERAND)] == [True, False]
    exact, high = function(OPERAND)
    spared, all_rounded = (
        jax.jit(rounded(function, 7, which=which))(OPERAND)
        for which in (lambda eqn: not is_exact(eqn), is_product)
    )
    np.testing.assert_array_equal(spared[0], exact)
    assert (spared[1] == 2).all() and (all_rounded[0] == 2).all() and (high > 2).all()


def test_trees_keywords_and_other_types():
    def function(tree, *, twice):
        product = tree["a"] @ tree["a"]
        return {"out": product * 2 if twice else product, "count": tree["n"] @ tree["n"]}

    tree = {"a": OPERAND.astype(jnp.bfloat16), "n": np.full(2, 1025, np.int32)}
    got = jax.jit(rounded(function, 3), static_argnames="twice")(tree, twice=True)
    assert got["count"] == 2 * 1025**2 and (got["out"] == 4).all()


def test_what_cannot_be_rounded_is_refused():
    mesh = jax.make_mesh((1,), ("x",))
    spec = jax.sharding.PartitionSpec()
    function = jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=spec, out_specs=spec)
    with pytest.raises(NotImplementedError, match="products inside of shard_map"):
        rounded(function, 7)(OPERAND)
