"""The solvers that the study `convergence` compares."""

import dataclasses
from typing import NamedTuple

from dimp_jax.config.predictor import PredictorConfig

# Fixed steps of gradient descent that are tried, by the inverse of the largest curvature of the
# first problem: on a quadratic objective twice that inverse is where it begins to diverge.
STEP_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
KL_DAMPING = 0.05  # as configs/prdimp18.py has it, from the published one
REFERENCE_ITERATIONS = 200  # of conjugate gradients, for the loss that counts as the least


class Arm(NamedTuple):
    """One solver as it is shown."""

    name: str
    predictor: PredictorConfig
    step_length: float | None = None  # None: as the checkpoint learned it


def own_objective_arms(own: PredictorConfig, momentum, step_lengths) -> list[Arm]:
    """The solvers on the objective of a config.

    The step length of the checkpoint multiplies the Gauss-Newton step; conjugate directions ask for
    the exact one. Gradient descent has no such step, so it gets `step_lengths`.
    """
    arms = [
        Arm("steepest descent", solver_of(own, "steepest_descent")),
        Arm("steepest descent, exact step", solver_of(own, "steepest_descent"), 1.0),
        Arm("conjugate gradient", solver_of(own, "conjugate_gradient"), 1.0),
        Arm("Newton step", solver_of(own, "newton")),
    ]
    for share in momentum:
        predictor = solver_of(own, "momentum", (("momentum", share),))
        arms.append(Arm(f"momentum {share:g}", predictor))
    descent = solver_of(own, "gradient_descent")
    arms += [Arm(f"gradient descent {s:.3g}", descent, s) for s in step_lengths]
    if ":" in own.solver:
        arms.insert(0, Arm(own.solver, own))
    return arms


def kl_arms(own: PredictorConfig) -> list[Arm]:
    """Solvers on the Kullback-Leibler objective, for a config that has another one.

    The curvature is small where the softmax is flat, so that whole steps are too long; `KL_DAMPING`
    shortens them.
    """
    kl = dataclasses.replace(own, objective="kl", objective_parameters=(), objective_options=())
    damped = dataclasses.replace(kl, alpha_eps=KL_DAMPING)
    damping = f"damping {KL_DAMPING:g}"
    return [
        Arm(f"Newton step, {damping}", solver_of(damped, "newton"), 1.0),
        Arm(f"steepest descent, {damping}", solver_of(damped, "steepest_descent"), 1.0),
        Arm(f"conjugate gradient, {damping}", solver_of(damped, "conjugate_gradient"), 1.0),
        Arm("Newton step, no damping", solver_of(kl, "newton"), 1.0),
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
