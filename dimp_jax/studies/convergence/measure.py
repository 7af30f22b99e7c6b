"""The measurements of the study `convergence`: one unit a problem."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.host import terminal
from dimp_jax.predictor import predict
from dimp_jax.predictor.objectives import regularization
from dimp_jax.studies import problems
from dimp_jax.studies.convergence.arms import (
    REFERENCE_ITERATIONS,
    STEP_FACTORS,
    Arm,
    kl_arms,
    own_objective_arms,
)
from dimp_jax.studies.convergence.lanczos import lanczos, ritz
from dimp_jax.tracking import tracker as trackers

STARTS = ("initialiser", "zero")
SWEPT = ("gradient descent",)  # arms of which the best one alone is plotted


def measure(config, sequences, args, opened, console) -> dict:
    """Every problem's record by its name, from the study's folder or measured now.

    A record: {"own": arms, "kl": arms or None, "spectrum": ...}; see `_objective`, `_spectrum`.
    """
    tracker = trackers.build(config)
    meter = Meter(config, tracker.network.params, args)
    measured = {}
    with terminal.Progress(console=console) as progress:
        task = progress.add_task("problems", total=len(sequences) * args.problems)
        for sequence in sequences:
            frames = problems.fit_frames(sequence, args.problems, args.horizon)
            keys = {frame: f"{sequence.name}@{frame}" for frame in frames}
            missing = [f for f in frames if opened.unit(keys[f]) is None]
            drawn = problems.from_tracking(
                tracker,
                meter.extractor,
                sequence,
                missing,
                later=args.later,
                horizon=args.horizon,
                seed=args.seed,
            )
            with contextlib.closing(drawn):
                for frame, problem in drawn:
                    progress.update(task, description=keys[frame])
                    step_lengths = opened.unit("step_lengths")
                    if step_lengths is None:
                        step_lengths = meter.step_lengths(problem)
                        opened.record("step_lengths", step_lengths)
                    opened.record(keys[frame], meter.record(problem, step_lengths))
                    progress.advance(task)
            progress.update(task, advance=args.problems - len(missing))
            measured |= {keys[frame]: opened.unit(keys[frame]) for frame in frames}
    return measured


class Meter:
    """Compiled programs of one network; each solver is compiled once for all problems."""

    def __init__(self, config, network_params, args):
        self.own = config.model.predictor
        self.learned = network_params["predictor"]
        self.extractor = problems.Extractor(config.model, network_params)
        self.args = args
        self._solve = jax.jit(solve, static_argnames=("predictor", "num_iter"))
        self._spectra = jax.jit(spectra, static_argnames=("predictor", "num_steps"))

    def step_lengths(self, problem) -> list[float]:
        """Fixed ones for gradient descent, the same for all problems."""
        diagonal, off = self._lanczos(problem, problem.initial)
        largest = max(ritz(*pair).values[-1] for pair in zip(diagonal, off, strict=True))
        return [float(factor / largest) for factor in STEP_FACTORS]

    def record(self, problem, step_lengths) -> dict:
        """All that is measured of one problem, as JSON values."""
        own_arms = own_objective_arms(self.own, self.args.momentum, step_lengths)
        own, last = self._objective(problem, own_arms)
        kl = None
        if self.own.objective != "kl":
            kl, _ = self._objective(problem, kl_arms(self.own))
        return {"own": own, "kl": kl, "spectrum": self._spectrum(problem, last)}

    def _objective(self, problem, arms):
        """Curves of every arm from every start, and the last iterate of the first arm.

        {"curves": {start: {arm: {losses, step_lengths, grad_norms, hit, margin}}},
        "tracked": {loss, hit, margin} of the tracker's filter, "least": the least loss known}
        """
        starts = dict(zip(STARTS, (problem.initial, jnp.zeros_like(problem.initial)), strict=True))
        curves, last = {}, None
        for name, start in starts.items():
            curves[name] = {}
            for arm in arms:
                solved, curve = self._run(arm, problem, start, self.args.iterations)
                curves[name][arm.name] = curve
                last = solved if last is None else last
        _, at = self._run(arms[0], problem, problem.tracked, self.args.iterations)
        seen = [c["losses"] for by_arm in curves.values() for c in by_arm.values()]
        conjugate = next(arm for arm in arms if arm.predictor.solver == "conjugate_gradient")
        far = problem.initial  # in runs of one length, so that no other program is compiled
        for _ in range(-(-REFERENCE_ITERATIONS // self.args.iterations)):
            far, curve = self._run(conjugate, problem, far, self.args.iterations)
            seen.append(curve["losses"])
        tracked = {"loss": at["losses"][0], "hit": at["hit"][0], "margin": at["margin"][0]}
        least = float(np.nanmin(np.concatenate(seen)))
        return {"curves": curves, "tracked": tracked, "least": least}, last

    def _run(self, arm: Arm, problem, start, num_iter):
        params, _ = predict.adapt_params(self.learned, arm.predictor)
        if arm.step_length is not None:
            log_length = jnp.log(jnp.float32(arm.step_length))
            params["log_step_length"] = jnp.full_like(params["log_step_length"], log_length)
        last, curve = self._solve(
            params, start, problem, predictor=arm.predictor, num_iter=num_iter
        )
        return last, {name: _numbers(values) for name, values in curve.items()}

    def _spectrum(self, problem, last):
        """{"first", "last": {values, weights: one list a random start}, "regularization"}."""
        params, _ = predict.adapt_params(self.learned, self.own)
        params = predict.effective_params(params, self.own)
        found = {"regularization": float(jnp.min(regularization(params, self.own)))}
        for name, filt in (("first", problem.initial), ("last", last)):
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


def solve(params, start, problem, *, predictor, num_iter):
    """(last filter, curves) of one solver; every curve but the step lengths is [I + 1]."""
    solved = predict.optimize_filter(
        params,
        start,
        problem.feat,
        problem.box_xywh,
        problem.weight,
        predictor,
        num_iter=num_iter,
        stride_px=problems.STRIDE_PX,
    )
    seen = jax.lax.map(lambda filt: problems.quality(filt, problem), solved.iterates)
    return solved.last, {
        "losses": solved.losses,
        "step_lengths": solved.step_lengths,
        "grad_norms": solved.grad_norms,
        "hit": seen.hit,
        "margin": seen.margin,
    }


def spectra(params, filt, problem, starts, *, predictor, num_steps):
    """Lanczos' tridiagonal matrices ([R, m], [R, m]) of the Gauss-Newton operator at a filter."""
    product = problems.objective_of(params, problem, predictor)(filt).product
    return jax.lax.map(lambda start: lanczos(product, start, num_steps), starts)


def _numbers(values):
    return np.asarray(values, float).tolist()


def excess(curve, record):
    """[I + 1] loss above the least known one, by that of the zero filter."""
    zero = next(iter(record["curves"]["zero"].values()))["losses"][0]
    losses = np.asarray(curve["losses"])
    return (losses - record["least"]) / (zero - record["least"])


def stacked(records, start: str, arm: str, field: str):
    """[problems, I + 1] (or [problems, I]) of one arm; infinite where the loss is not finite."""
    curves = [(r["curves"][start][arm], r) for r in records.values()]
    if field == "excess":
        values = np.stack([excess(curve, record) for curve, record in curves])
    else:
        values = np.stack([np.asarray(curve[field]) for curve, _ in curves])
    return np.where(np.isnan(values), np.inf, values) if field == "excess" else values


def shown_arms(records, start: str) -> list[str]:
    """All arms, but of swept ones the best alone: the least median excess at the end."""
    names = list(next(iter(records.values()))["curves"][start])
    shown = [n for n in names if not n.startswith(SWEPT)]
    for prefix in SWEPT:
        swept = [n for n in names if n.startswith(prefix)]
        final = lambda n: np.median(stacked(records, start, n, "excess")[:, -1])
        shown += [min(swept, key=final)] if swept else []
    return shown
