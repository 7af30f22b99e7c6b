"""Matrix products as an accelerator rounds them, emulated on the CPU in a traced program.

By default the operands of a float32 product or convolution are rounded to bfloat16 on a TPU and to
TF32 on a GPU (Ampere and later); the sums are float32. Products of precision HIGHEST are not.
"""

import functools

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxprs_in_params

from dimp_jax.host.operations import equations

PRODUCTS = ("dot_general", "conv_general_dilated")
MANTISSA_BITS = {"tf32": 10, "bfloat16": 7}  # kept of 23
# Programs inside a program that run once and are not differentiated again: evaluated in place.
CALLS = ("jit", "pjit", "closed_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call")
CONTROL_FLOW = ("scan", "while", "cond", "custom_linear_solve")  # changed, and left as they are


def products(fn, *args) -> list:
    """The equations of all matrix products and convolutions in `fn`, nothing of which is run."""
    found = equations(jax.make_jaxpr(fn)(*args).jaxpr)
    return [eqn for eqn, _ in found if is_product(eqn)]


def is_product(eqn) -> bool:
    """Is it a matrix product or a convolution?"""
    return eqn.primitive.name in PRODUCTS


def is_exact(eqn) -> bool:
    """Is it a product that names the precision HIGHEST for both operands?"""
    highest = jax.lax.Precision.HIGHEST
    return is_product(eqn) and eqn.params["precision"] == (highest, highest)


def rounded(fn, mantissa_bits: int, *, which=lambda eqn: not is_exact(eqn)):
    """`fn` with the operands of its float32 products rounded to so many bits of the mantissa.

    Args:
      fn: of pytrees of arrays. Differentiate before, not after: a program that defines its own
        derivative loses it here.
      which: equation -> whether to round this product; by default those not exact.

    Returns:
      A function of the same arguments, to be jitted; keywords are static.
    """

    def change(eqn, operands):
        if not which(eqn):
            return operands
        is_float32 = lambda x: x.dtype == jax.numpy.float32
        cut = functools.partial(
            jax.lax.reduce_precision, exponent_bits=8, mantissa_bits=mantissa_bits
        )
        return [cut(x) if is_float32(x) else x for x in operands]

    def run(*args, **static):
        traced, shapes = jax.make_jaxpr(functools.partial(fn, **static), return_shape=True)(*args)
        results = _evaluate(traced.jaxpr, traced.consts, jax.tree.leaves(args), change)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run


def _evaluate(jaxpr, consts, args, change):
    """Runs `jaxpr`; `change` (equation, operands) -> operands is applied to every product."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else values[atom]
    for eqn in jaxpr.eqns:
        results = _apply(eqn, [read(atom) for atom in eqn.invars], change)
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(eqn, operands, change):
    name, params = eqn.primitive.name, eqn.params
    if name in CALLS:
        inner = params["call_jaxpr" if "call_jaxpr" in params else "jaxpr"]
        consts = inner.consts if isinstance(inner, ClosedJaxpr) else ()
        return _evaluate(getattr(inner, "jaxpr", inner), consts, operands, change)
    if is_product(eqn):
        operands = change(eqn, operands)
    elif any(is_product(e) for inner in jaxprs_in_params(params) for e, _ in equations(inner)):
        if name not in CONTROL_FLOW:
            raise NotImplementedError(f"products inside of {name} cannot be rounded")
        is_program = lambda value: isinstance(value, ClosedJaxpr)
        again = lambda value: _changed(value, change) if is_program(value) else value
        params = {k: jax.tree.map(again, v, is_leaf=is_program) for k, v in params.items()}
    results = eqn.primitive.bind(*operands, **params)
    return results if eqn.primitive.multiple_results else [results]


def _changed(program: ClosedJaxpr, change) -> ClosedJaxpr:
    shapes = [
        jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in program.in_avals
    ]
    run = lambda *args: _evaluate(program.jaxpr, program.consts, args, change)
    return jax.make_jaxpr(run)(*shapes)
