"""Success AUC of the tracker with each solver, after so many iterations."""

import dataclasses

import jax.numpy as jnp

from dimp_jax import config as configs
from dimp_jax.host.rounded_products import MANTISSA_BITS, is_exact
from dimp_jax.studies import accuracy
from dimp_jax.studies.convergence.arms import Arm, Rounding
from dimp_jax.tracking import tracker as trackers
from dimp_jax.training.log import counted

CONFIGURED = "as configured"
NO_ITERATIONS = "initialiser only"


def variants(solvers: dict[str, Arm], own: Arm, iterations, configured: int) -> dict:
    """{name: (arm, iterations on the first frame)}, what everything is compared with first.

    Args:
      solvers: {name: arm with the step length to track with}. own: the arm of the config.
      iterations: the numbers to try. configured: that of the config.
    """
    found = {CONFIGURED: (own, configured), NO_ITERATIONS: (own, 0)}
    for count in iterations:
        for name, arm in solvers.items():
            if (arm, count) != (own, configured):
                found[f"{name}, {count} iterations"] = (arm, count)
    for name in MANTISSA_BITS:
        found[f"{name} in the predictor"] = (own._replace(rounding=Rounding(name)), configured)
    return found


def changed(config, arm: Arm, iterations: int):
    """The config with an arm's solver and so many iterations; updates have them in proportion."""
    memory = config.tracker.memory
    share = iterations / max(memory.init_iterations, 1)
    scaled = lambda count: max(1, round(share * count))
    return configs.changed(
        config,
        {
            "model.predictor": arm.predictor,
            "tracker.memory.init_iterations": iterations,
            "tracker.memory.update_iterations": scaled(memory.update_iterations),
            "tracker.memory.hard_negative_iterations": scaled(memory.hard_negative_iterations),
            "tracker.memory.update": memory.update if iterations else "none",
        },
    )


def build(config, arm: Arm, iterations: int):
    """The tracker of a variant; of products the rounding of its arm meets only the exact ones."""
    tracker = trackers.build(changed(config, arm, iterations))
    if arm.step_length is not None:
        params = tracker.network.params
        length = params["predictor"]["log_step_length"]
        log_length = jnp.full_like(length, jnp.log(jnp.float32(arm.step_length)))
        params = params | {"predictor": params["predictor"] | {"log_step_length": log_length}}
        tracker = dataclasses.replace(tracker, network=tracker.network._replace(params=params))
    if arm.rounding is not None:
        bits = MANTISSA_BITS[arm.rounding.name]
        tracker = accuracy.rounded_tracker(tracker, bits, which=is_exact)
    return tracker


def measure(config, sequences, chosen: dict, seed: int, opened, console) -> dict:
    """{variant: {sequence: AUC}}, a unit each, from the study's folder or measured now."""
    found, total = {}, len(chosen) * len(sequences)
    with counted(console, "tracked sequences") as progress:
        for place, (name, (arm, iterations)) in enumerate(chosen.items()):
            tracker, auc = None, {}
            for index, sequence in enumerate(sequences):
                progress(place * len(sequences) + index, total, name)
                key = f"auc {arm.name} {arm.rounding or ''} {iterations} {sequence.name}"
                if opened.unit(key) is None:
                    tracker = tracker or build(config, arm, iterations)
                    opened.record(key, accuracy.success_auc(tracker, sequence, seed))
                auc[sequence.name] = opened.unit(key)
            found[name] = auc
        progress(total, total)
    return found
