"""The operations and bytes of a traced program; nothing of it is run."""

import math

import jax
from jax.extend.core import jaxprs_in_params


def count_flops(fn, *args, counts=lambda eqn: True) -> int:
    """Operations of `fn`: matmuls and convolutions as 2 a multiply-add, multiplies and adds as 1.

    Counted in the traced program, before XLA removes what no result needs: give functions that
    return all that they compute. Equations for which `counts` is false are left out.
    """
    return program_flops(jax.make_jaxpr(fn)(*args).jaxpr, counts)


def program_flops(jaxpr, counts=lambda eqn: True) -> int:
    """`count_flops` of a program that is traced already."""
    total = 0
    for eqn, times in equations(jaxpr):
        name, params = eqn.primitive.name, eqn.params
        if not counts(eqn):
            continue
        size = times * sum(math.prod(v.aval.shape) for v in eqn.outvars[:1])  # a check has none
        if name == "dot_general":
            contracted = params["dimension_numbers"][0][0]
            shape = eqn.invars[0].aval.shape
            total += 2 * size * math.prod(shape[i] for i in contracted)
        elif name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
            total += 2 * size * math.prod(kernel) // outputs
        elif name in ("mul", "add", "sub"):
            total += size
    return total


def count_bytes(fn, *args, itemsize: int) -> int:
    """Bytes of operands and results of all matrix products and convolutions, moved once each.

    Those of depthwise convolutions, which are multiply-adds here, are not among them.
    """
    return program_bytes(jax.make_jaxpr(fn)(*args).jaxpr, itemsize=itemsize)


def program_bytes(jaxpr, *, itemsize: int) -> int:
    """`count_bytes` of a program that is traced already."""
    return sum(
        times * itemsize * math.prod(v.aval.shape)
        for eqn, times in equations(jaxpr)
        if eqn.primitive.name in ("dot_general", "conv_general_dilated")
        for v in (*eqn.invars, *eqn.outvars)
    )


def equations(jaxpr, times: int = 1):
    """Yields (equation, how often it runs) of a traced program and of all programs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn, times
        again = times * (eqn.params["length"] if eqn.primitive.name == "scan" else 1)
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner, again)
