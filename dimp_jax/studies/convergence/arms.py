"""The solvers that the study `convergence` compares."""

import dataclasses
from typing import NamedTuple

from dimp_jax.config.predictor import PredictorConfig

# Factors on the Gauss-Newton step that are tried beside the learned one.
STEP_FACTORS = (0.5, 0.7, 1.0, 1.3)
# Fixed steps of gradient descent that are tried, by the inverse of the largest curvature of the
# first problem: on a quadratic objective twice that inverse is where it begins to diverge.
FIXED_STEPS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
KL_DAMPING = 0.05  # as configs/prdimp18.py has it, from the published one
REFERENCE_ITERATIONS = 200  # of conjugate gradients, for the loss that counts as the least
LEARNED = "learned"
STEEPEST, CONJUGATE = "steepest descent", "conjugate gradient"
ROLES = ("target maps", "scores", "gradient", "inner products")  # of the products of a solve


class Rounding(NamedTuple):
    """Operands of products are rounded, as accelerators do."""

    name: str  # of `rounded_products.MANTISSA_BITS`
    role: str | None = None  # only those of one of `ROLES`

    def __str__(self):
        return self.name if self.role is None else f"{self.name} in {self.role}"


class Arm(NamedTuple):
    """One way to fit the filter; its name begins with "SOLVER, " where there are several ways."""

    name: str
    predictor: PredictorConfig
    step_length: float | None = None  # None: as the checkpoint learned it
    rounding: Rounding | None = None


def solver_name(arm: str) -> str:
    """The name of an arm without its step length, rounding or damping."""
    return arm.partition(", ")[0]


def own_objective_arms(own: PredictorConfig, momentum, fixed_steps) -> list[Arm]:
    """The solvers on the objective of a config, its own first, with all steps that are tried.

    The step length of the checkpoint multiplies the Gauss-Newton step; conjugate directions ask for
    the exact one. Gradient descent has no such step, so it gets `fixed_steps`.
    """
    each = {STEEPEST: solver_of(own, "steepest_descent")}
    for share in momentum:
        each[f"momentum {share:g}"] = solver_of(own, "momentum", (("momentum", share),))
    arms = [
        _with_step(solver, predictor, step)
        for solver, predictor in each.items()
        for step in (None, *STEP_FACTORS)
    ]
    descent = solver_of(own, "gradient_descent")
    arms += [
        Arm(CONJUGATE, solver_of(own, "conjugate_gradient"), 1.0),
        Arm("Newton step", solver_of(own, "newton")),
        *(_with_step("gradient descent", descent, step) for step in fixed_steps),
    ]
    if own.solver != "steepest_descent":
        arms.insert(0, Arm(own.solver, solver_of(own, own.solver)))
    return arms


def _with_step(solver, predictor, step):
    return Arm(f"{solver}, step {LEARNED if step is None else f'{step:.3g}'}", predictor, step)


def compared_starts(arms: list[Arm]) -> list[Arm]:
    """Those that are run from every start: as the tracker does it, and conjugate gradients."""
    return [a for a in arms if a.name in (f"{STEEPEST}, step {LEARNED}", CONJUGATE)]


def rounded_arms(arms: list[Arm]) -> list[Arm]:
    """The same with TF32 and bfloat16 in all products, and bfloat16 in those of one role."""
    roundings = [Rounding("tf32"), Rounding("bfloat16")]
    roundings += [Rounding("bfloat16", role) for role in ROLES]
    return [
        arm._replace(name=f"{solver_name(arm.name)}, {rounding}", rounding=rounding)
        for arm in compared_starts(arms)
        for rounding in roundings
    ]


def kl_arms(own: PredictorConfig) -> list[Arm]:
    """Solvers on the Kullback-Leibler objective, for a config that has another one.

    The curvature is small where the softmax is flat, so that whole steps are too long; `KL_DAMPING`
    shortens them.
    """
    kl = dataclasses.replace(own, objective="kl", objective_parameters=(), objective_options=())
    damped = dataclasses.replace(kl, alpha_eps=KL_DAMPING)
    damping = f"damping {KL_DAMPING:g}"
    return [
        Arm(f"{STEEPEST}, {damping}", solver_of(damped, "steepest_descent"), 1.0),
        Arm(f"{CONJUGATE}, {damping}", solver_of(damped, "conjugate_gradient"), 1.0),
        Arm(f"{STEEPEST}, no damping", solver_of(kl, "steepest_descent"), 1.0),
    ]


def solver_of(own: PredictorConfig, solver: str, parameters=()) -> PredictorConfig:
    """`own` with another solver; nothing passes back. The step length can be set from outside."""
    options = ()
    if solver == own.solver and not parameters:
        parameters, options = own.solver_parameters, own.solver_options
    there = dict((*own.objective_parameters, *parameters))
    learned = own.learned
    if learned.log_step_length == "initial":
        learned = dataclasses.replace(learned, log_step_length="shared")
    return dataclasses.replace(
        own,
        solver=solver,
        solver_parameters=parameters,
        solver_options=options,
        adjoint="unrolled",
        adjoint_options=(),
        learned=learned,
        learned_own=tuple((name, mode) for name, mode in own.learned_own if name in there),
    )
