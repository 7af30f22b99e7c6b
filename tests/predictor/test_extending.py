"""docs/extending.md: its code blocks run as they are written."""

import dataclasses
import importlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.config.training import OptimConfig
from dimp_jax.predictor.objectives import Samples
from dimp_jax.predictor.predict import init_params, optimize_filter
from dimp_jax.training import steps
from tests.predictor.test_predict import problem
from tests.support import ROOT, small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

PAGE = ROOT / "docs" / "extending.md"
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The modules of the page in a folder on the path; returns the path of its config file."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python"), "a block does not say which file it is of"
    for name, code in blocks:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_config.py"
    for name in ("my_parts", "use"):
        sys.modules.pop(name, None)


def test_a_solve_with_the_parts_of_the_page(page):
    use = importlib.import_module("use")
    config, params = use.config, use.params
    assert {"first_share", "log_limit"} <= set(params)
    filt, feat, box, weight = problem(samples=3)

    def end(params, weight, config):
        solve = optimize_filter(params, filt, feat, box, weight, config, num_iter=6)
        return jnp.sum(solve.last**2), solve

    exact = dataclasses.replace(config, adjoint="unrolled")
    run = jax.jit(
        lambda p, w: [jax.grad(end, (0, 1), has_aux=True)(p, w, c) for c in (config, exact)]
    )
    ((grads, by_weight), solve), ((whole, _), unrolled) = run(params, weight.at[1].set(0.0))
    assert solve.losses[-1] < 0.9 * solve.losses[0]
    np.testing.assert_allclose(solve.iterates, unrolled.iterates, rtol=1e-6, atol=1e-7)
    for name in ("first_share", "log_limit", "filter_reg", "log_step_length"):
        assert np.isfinite(grads[name]) and abs(grads[name]) > 0, name
    assert np.isfinite(by_weight).all()
    # Only half of the gradient gets from the last iteration to the first one.
    assert 0 < abs(grads["first_share"]) < abs(whole["first_share"])
    # The page's residual is Huber's: squared it grows as the error, far away.
    objective = importlib.import_module("my_parts").huber
    samples = Samples(feat, box, weight, stride_px=16, filter_cells=2)
    loss = lambda scale: objective(params, samples, config)(scale * filt).loss
    data = lambda scale: loss(scale) - params["filter_reg"] ** 2 * (scale * filt**2).sum() * scale
    np.testing.assert_allclose(data(2e4) / data(1e4), 2.0, rtol=1e-2)


@pytest.mark.long
def test_a_training_step_with_the_config_of_the_page(page):
    config = configs.load(str(page))
    predictor = dataclasses.replace(config.model.predictor, num_iter=2)
    model = dataclasses.replace(small_training.TINY, predictor=predictor)
    optim = OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",))
    settings = small_training.settings(model, optim=optim)
    state = steps.init_state(small_training.variables(model), settings)
    after, metrics = jax.jit(steps.make_train_step(settings))(state, small_training.batch(2))
    assert np.isfinite(metrics["loss"])
    for name, initial in init_params(predictor).items():
        learned = name not in ("label", "mask", "weight")  # this objective has no use for them
        assert (abs(after.params["predictor"][name] - initial).max() > 0) == learned, name
