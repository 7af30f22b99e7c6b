"""The measurements of the study `metagradient`: one unit a loss and number of iterations."""

import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.host.machine import machine
from dimp_jax.models.dimp import STRIDE_PX
from dimp_jax.predictor import predict
from dimp_jax.predictor.correlation import correlate
from dimp_jax.studies import problems
from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.trainings.fit import temporary_bytes
from dimp_jax.tracking import tracker as trackers
from dimp_jax.training import losses, steps
from dimp_jax.training.log import counted

EXACT = "unrolled"
FEATURES = "features"
INITIAL = "initial filter"


def measure(config, sequences, args, opened, console) -> dict:
    """Records by (loss, iterations), from the study's folder or measured now.

    A record: {"samples": n, "load": of the machine, "optimality": [n], "sizes": {group: numbers in
    it}, "norm": {group: [n]} of the exact gradient, "adjoints": {name: {"cosine", "ratio": {group:
    [n]}, "seconds", "temporary_bytes", "loss_difference"}}}. A cosine is None where a gradient is
    zero.
    """
    units = units_of(args)
    missing = [which for which, key in units.items() if opened.unit(key) is None]
    with counted(console, "samples") as progress:
        progress(len(units) - len(missing), len(units))
        if missing:
            tracker = trackers.build(config)
            drawn = draw(config, tracker, sequences, args)
            learned = tracker.network.params["predictor"]
        for number, (loss, n) in enumerate(missing, len(units) - len(missing)):
            tell = lambda adjoint, number=number, start=f"{loss}, {n}": progress(
                number, len(units), f"{start}: {adjoint}"
            )
            opened.record(units[loss, n], compare(config, learned, drawn, loss, n, args, tell))
        progress(len(units), len(units))
    return recorded(args, opened)


def recorded(args, opened) -> dict:
    """The records of `measure` that are there."""
    found = {which: opened.unit(key) for which, key in units_of(args).items()}
    return {which: record for which, record in found.items() if record is not None}


def units_of(args) -> dict:
    """{(loss, iterations): key of the unit}."""
    return {(loss, n): f"{loss}-{n}" for loss in args.losses for n in args.iterations}


def draw(config, tracker, sequences, args) -> list[problems.Problem]:
    """The training samples of all sequences."""
    extractor = problems.Extractor(config.model, tracker.network.params)
    data = config.training.data
    found = []
    for index, sequence in enumerate(sequences):
        seed = args.seed + index  # one stream of draws for each sequence
        found += problems.from_training(extractor, sequence, data, args.samples, seed)
    return found


def compare(config, learned, drawn, loss: str, num_iter: int, args, tell) -> dict:
    """The record of one loss and number of iterations: every adjoint on every problem."""
    exact, record = None, {"samples": len(drawn), "load": machine()["load"], "adjoints": {}}
    named = adjoints_of(config.model.predictor, num_iter, args.truncate)
    for name, predictor in named.items():
        params, _ = predict.adapt_params(learned, predictor)
        gradient = jax.value_and_grad(make_loss(config, predictor, loss, num_iter), 0, has_aux=True)
        inputs = lambda p, params=params: ((params, p.initial, p.feat), p)
        compiled = jax.jit(gradient).lower(*inputs(drawn[0])).compile()
        results = [jax.device_get(compiled(*inputs(problem))) for problem in drawn]
        values = np.array([float(value) for (value, _), _ in results])
        groups = [by_group(gradients) for _, gradients in results]
        if name == EXACT:
            exact, exact_values = groups, values
            record["sizes"] = {group: vector.size for group, vector in exact[0].items()}
            length = lambda group, exact=exact: [float(np.linalg.norm(of[group])) for of in exact]
            record["norm"] = {group: length(group) for group in exact[0]}
            record["optimality"] = [float(optimality) for (_, optimality), _ in results]
        pairs = list(zip(groups, exact, strict=True))
        record["adjoints"][name] = {
            "cosine": {g: [cosine(a[g], b[g]) for a, b in pairs] for g in exact[0]},
            "ratio": {g: [norm_ratio(a[g], b[g]) for a, b in pairs] for g in exact[0]},
            "seconds": seconds(compiled, inputs(drawn[0]), args.repeats),
            "temporary_bytes": temporary_bytes(compiled),
            "loss_difference": float(np.max(np.abs(values / exact_values - 1))),
        }
        tell(name)
    return record


def make_loss(config, predictor, loss: str, num_iter: int):
    """((params, initial filter, features), problem) -> (training loss on the test frames,
    optimality of the solve); without the box regression's term, which has no part in the solve."""
    weights = config.training.loss
    filter_cells = config.model.filter_size_cells

    def value(given, problem):
        params, initial, feat = given
        fitted = problem.box_xywh, problem.weight
        solved = predict.optimize_filter(
            params, initial, feat, *fitted, predictor, num_iter=num_iter, stride_px=STRIDE_PX
        )
        if loss == "final":  # of `last` alone: some adjoints need not look at the others then
            scores = correlate(solved.last, problem.test_feat)
            scores = jnp.stack([scores, scores])
        else:
            scores = jax.vmap(lambda filt: correlate(filt, problem.test_feat))(solved.iterates)
        label = steps.sequence_label(problem.test_box_xywh, weights, scores.shape[2:], filter_cells)
        terms = losses.loss_terms(scores, label, jnp.float32(0.0), weights)
        total = terms["final"] if loss == "final" else sum(terms.values())
        return total, solved.optimality

    return value


def by_group(gradients) -> dict:
    """Float64 vectors: the loss parameters by name, the initial filter, the features."""
    params, initial, feat = gradients
    named = {**params, INITIAL: initial, FEATURES: feat}
    return {name: np.asarray(value, np.float64).ravel() for name, value in named.items()}


def cosine(a, b) -> float | None:
    """Of the angle between two vectors; None if one of them is zero."""
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else None


def norm_ratio(a, b) -> float | None:
    """Norm of a by that of b; None if b is zero."""
    length = np.linalg.norm(b)
    return float(np.linalg.norm(a) / length) if length > 0 else None


def seconds(compiled, inputs, repeats: int) -> float:
    """Median time of a call that has run before."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def adjoints_of(own: PredictorConfig, num_iter: int, truncate) -> dict[str, PredictorConfig]:
    """The config of each adjoint by its name in the tables, the exact one first."""
    with_ours = dataclasses.replace(own, adjoint_options=())
    named = {
        name: dataclasses.replace(with_ours, adjoint=name)
        for name in (EXACT, "checkpointed", "implicit", "one_step")
    }
    if ":" in own.adjoint:
        named[own.adjoint] = own
    for length in sorted(set(truncate)):
        # Another length would leave a shorter stretch than its name says after the last cut.
        if length < num_iter and num_iter % length == 0:
            named[f"truncated({length})"] = dataclasses.replace(
                with_ours, adjoint="truncated", truncate_every=length
            )
    return named


def groups_of(records) -> list[str]:
    """Groups of leaves, less those that the exact gradient never reaches."""
    exact = [r["adjoints"][EXACT]["cosine"] for r in records.values()]
    return [g for g in exact[0] if any(middle(cosines[g]) is not None for cosines in exact)]


def adjoints_in(records) -> list[str]:
    """All adjoints, in the order in which they come up."""
    return list(dict.fromkeys(a for r in records.values() for a in r["adjoints"]))
