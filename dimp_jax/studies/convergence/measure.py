"""The measurements of the study `convergence` on problems: one unit each."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.host.operations import count_flops
from dimp_jax.host.rounded_products import MANTISSA_BITS, is_product, rounded
from dimp_jax.predictor import predict
from dimp_jax.predictor.objectives import regularization
from dimp_jax.studies import problems
from dimp_jax.studies.convergence import arms as solver_arms
from dimp_jax.studies.convergence.arms import Arm
from dimp_jax.studies.convergence.lanczos import lanczos, ritz
from dimp_jax.training.log import counted

STARTS = ("initialiser", "zero", "tracked")  # filters; "tracked" is the tracker's at that frame
ROUNDED = "rounded"  # from the initialiser's filter, with rounded products
SPECTRA_AT = ("initialiser", "tracked")


def measure(tracker, sequences, args, opened, console) -> dict:
    """Every problem's record by its name, from the study's folder or measured now.

    A record: {"own": arms, "kl": arms or None, "spectrum": ...}; see `_objective`, `_spectrum`.
    Unit "solvers" has what is the same for all: {"fixed_steps": of gradient descent, "flops":
    {solver: operations of an iteration}}.
    """
    meter = Meter(tracker.config, tracker.network.params, args)
    keys = {
        f"{sequence.name}@{frame}": (sequence, frame)
        for sequence in sequences
        for frame in problems.fit_frames(sequence, args.after, args.horizon)
    }
    missing = {key: at for key, at in keys.items() if opened.unit(key) is None}
    done = len(keys) - len(missing)
    spread = {"later": args.later, "horizon": args.horizon, "seed": args.seed}
    with counted(console, "problems") as progress:
        progress(done, len(keys))
        for sequence in sequences:
            frames = [frame for of, frame in missing.values() if of is sequence]
            drawn = problems.from_tracking(tracker, meter.extractor, sequence, frames, **spread)
            with contextlib.closing(drawn):
                for frame, problem in drawn:
                    key = f"{sequence.name}@{frame}"
                    progress(done, len(keys), key)
                    solvers = opened.unit("solvers")
                    if solvers is None:
                        solvers = meter.solvers(problem)
                        opened.record("solvers", solvers)
                    opened.record(key, meter.record(problem, solvers["fixed_steps"]))
                    done += 1
        progress(done, len(keys))
    return {key: opened.unit(key) for key in keys}


class Meter:
    """Compiled programs of one network; each solver is compiled once for all problems."""

    def __init__(self, config, network_params, args):
        self.own = config.model.predictor
        self.learned = network_params["predictor"]
        self.extractor = problems.Extractor(config.model, network_params)
        self.args = args
        self._solve = jax.jit(solve, static_argnames=("predictor", "num_iter", "rounding"))
        self._spectra = jax.jit(spectra, static_argnames=("predictor", "num_steps"))

    def solvers(self, problem) -> dict:
        """Fixed steps for gradient descent, and the cost of every solver; of any one problem."""
        diagonal, off = self._lanczos(problem, problem.initial)
        largest = max(ritz(*pair).values[-1] for pair in zip(diagonal, off, strict=True))
        fixed_steps = [float(factor / largest) for factor in solver_arms.FIXED_STEPS]
        arms = solver_arms.own_objective_arms(self.own, self.args.momentum, fixed_steps)
        flops = {
            solver_arms.solver_name(arm.name): iteration_flops(
                self._params(arm), problem, arm.predictor
            )
            for arm in arms
        }
        return {"fixed_steps": fixed_steps, "flops": flops}

    def record(self, problem, fixed_steps) -> dict:
        """All that is measured of one problem, as JSON values."""
        own = solver_arms.own_objective_arms(self.own, self.args.momentum, fixed_steps)
        compared, rounded_too = solver_arms.compared_starts(own), solver_arms.rounded_arms(own)
        own = {"initialiser": own, "zero": compared, "tracked": compared, ROUNDED: rounded_too}
        kl = None
        if self.own.objective != "kl":
            kl = self._objective(problem, {"initialiser": solver_arms.kl_arms(self.own)})
        own = self._objective(problem, own)
        return {"own": own, "kl": kl, "spectrum": self._spectrum(problem)}

    def _objective(self, problem, arms):
        """Curves of the arms of every start.

        {"curves": {start: {arm: {losses, step_lengths, grad_norms, hit, margin}}},
        "zero": loss of the zero filter, "least": the least loss known}
        """
        filters = {
            "initialiser": problem.initial,
            "zero": jnp.zeros_like(problem.initial),
            "tracked": problem.tracked,
            ROUNDED: problem.initial,
        }
        curves = {
            start: {arm.name: self._run(arm, problem, filters[start])[1] for arm in of_start}
            for start, of_start in arms.items()
        }
        seen = [c["losses"] for by_arm in curves.values() for c in by_arm.values()]
        all_arms = [arm for of_start in arms.values() for arm in of_start]
        conjugate = next(a for a in all_arms if a.predictor.solver == "conjugate_gradient")
        _, from_zero = self._run(conjugate, problem, filters["zero"])
        far = problem.initial  # in runs of one length, so that no other program is compiled
        for _ in range(-(-solver_arms.REFERENCE_ITERATIONS // self.args.iterations)):
            far, curve = self._run(conjugate, problem, far)
            seen.append(curve["losses"])
        least = float(np.nanmin(np.concatenate(seen)))
        return {"curves": curves, "zero": from_zero["losses"][0], "least": least}

    def _params(self, arm: Arm):
        params, _ = predict.adapt_params(self.learned, arm.predictor)
        if arm.step_length is not None:
            log_length = jnp.log(jnp.float32(arm.step_length))
            params["log_step_length"] = jnp.full_like(params["log_step_length"], log_length)
        return params

    def _run(self, arm: Arm, problem, start):
        static = {"predictor": arm.predictor, "num_iter": self.args.iterations}
        last, curve = self._solve(
            self._params(arm), start, problem, **static, rounding=arm.rounding
        )
        return last, {name: _numbers(values) for name, values in curve.items()}

    def _spectrum(self, problem):
        """{"initialiser", "tracked": {values, weights: one list a random start},
        "regularization"}: of the Gauss-Newton operator at these filters.
        """
        params, _ = predict.adapt_params(self.learned, self.own)
        params = predict.effective_params(params, self.own)
        found = {"regularization": float(jnp.min(regularization(params, self.own)))}
        for name, filt in zip(SPECTRA_AT, (problem.initial, problem.tracked), strict=True):
            pairs = zip(*self._lanczos(problem, filt), strict=True)
            each = [ritz(*pair) for pair in pairs]
            found[name] = {
                "values": [_numbers(r.values) for r in each],
                "weights": [_numbers(r.weights) for r in each],
            }
        return found

    def _lanczos(self, problem, filt):
        params, _ = predict.adapt_params(self.learned, self.own)
        shape = (self.args.lanczos_starts, *filt.shape)
        starts = jax.random.normal(jax.random.key(self.args.seed), shape)
        steps = min(self.args.lanczos_steps, filt.size)
        return self._spectra(params, filt, problem, starts, predictor=self.own, num_steps=steps)


def _optimized(params, start, problem, *, predictor, num_iter):
    fitted = problem.feat, problem.box_xywh, problem.weight
    return predict.optimize_filter(
        params, start, *fitted, predictor, num_iter=num_iter, stride_px=problems.STRIDE_PX
    )


def solve(params, start, problem, *, predictor, num_iter, rounding=None):
    """(last filter, curves) of one solver; every curve but the step lengths is [I + 1].

    Args:
      rounding: `arms.Rounding` of the products of the solve. What it finds is judged exactly.
    """
    run = functools.partial(_optimized, predictor=predictor, num_iter=num_iter)
    if rounding is not None:
        which = lambda eqn: is_product(eqn) and rounding.role in (None, role(eqn))
        run = rounded(run, MANTISSA_BITS[rounding.name], which=which)
    solved = run(params, start, problem)
    losses = solved.losses
    if rounding is not None:
        objective = problems.objective_of(params, problem, predictor)
        losses = jax.lax.map(lambda filt: objective(filt).loss, solved.iterates)
    seen = jax.lax.map(lambda filt: problems.quality(filt, problem), solved.iterates)
    return solved.last, {
        "losses": losses,
        "step_lengths": solved.step_lengths,
        "grad_norms": solved.grad_norms,
        "hit": seen.hit,
        "margin": seen.margin,
    }


def role(eqn) -> str:
    """What a product is for (`arms.ROLES`), in a solve of a filter by `correlation.correlate`."""
    if not eqn.outvars[0].aval.shape:
        return "inner products"
    if eqn.primitive.name != "dot_general":
        return "scores"  # a convolution, of a part of somebody else's
    _, weights = (v.aval.shape for v in eqn.invars)
    ((_, contracted), _) = eqn.params["dimension_numbers"]
    if len(weights) == 1:  # the values of the distance bins
        return "target maps"
    return "scores" if contracted == (1,) else "gradient"  # over channels, or over cells


def iteration_flops(params, problem, predictor) -> int:
    """Operations of one more iteration, counted in the traced program."""
    run = functools.partial(_optimized, params, problem.initial, problem, predictor=predictor)
    two, one = (count_flops(functools.partial(run, num_iter=count)) for count in (2, 1))
    return two - one


def spectra(params, filt, problem, starts, *, predictor, num_steps):
    """Lanczos' tridiagonal matrices ([R, m], [R, m]) of the Gauss-Newton operator at a filter."""
    product = problems.objective_of(params, problem, predictor)(filt).product
    return jax.lax.map(lambda start: lanczos(product, start, num_steps), starts)


def _numbers(values):
    return np.asarray(values, float).tolist()
