"""docs/guides/extending.md: its blocks run as they are written, its commands are understood."""

import dataclasses
import importlib
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.config.training import OptimConfig
from dimp_jax.evaluation import command as evaluation
from dimp_jax.media.images import InputError
from dimp_jax.predictor.objectives import Samples
from dimp_jax.predictor.predict import adapt_params, init_params, optimize_filter
from dimp_jax.studies import __main__ as studies
from dimp_jax.studies import learned_loss
from dimp_jax.studies.ablation import arms as arms_of_ablation
from dimp_jax.studies.ablation import report, whole
from dimp_jax.studies.convergence import arms
from dimp_jax.studies.learned_loss import figures as study_figures
from dimp_jax.studies.learned_loss import functions, sensitivity
from dimp_jax.studies.metagradient import measure as metagradient
from dimp_jax.studies.trainings import data, run
from dimp_jax.training import command as training
from dimp_jax.training import feature_pool, steps
from tests.docs import printed
from tests.predictor.test_predict import C, problem
from tests.support import ROOT, small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

PAGE = ROOT / "docs" / "guides" / "extending.md"
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The config of the page, from a folder with its files; its parts fit the tests' features."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python"), "a block does not say which file it is of"
    for name, code in blocks:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(code)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    config = configs.load(str(tmp_path / "my_config.py"))  # what lies beside it is found
    importlib.import_module("my_parts").CHANNELS = C
    yield config
    for name in ("my_parts", "my_config", "use"):
        sys.modules.pop(name, None)


def test_a_solve_with_the_parts_of_the_page(page):
    use = importlib.import_module("use")
    config, params = use.config, use.params
    assert {"first_share", "log_limit"} <= set(params)
    filt, feat, box, weight = problem(samples=3)

    def end(params, weight, config):
        solve = optimize_filter(params, filt, feat, box, weight, config, num_iter=6)
        return jnp.sum(solve.last**2), solve

    exact = dataclasses.replace(config, adjoint="unrolled", adjoint_options=())
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
    samples = Samples(feat, box, weight, stride_px=16, filter_cells=filt.shape[0])
    loss = lambda scale: objective(params, samples, config)(scale * filt).loss
    data = lambda scale: loss(scale) - params["filter_reg"] ** 2 * (scale * filt**2).sum() * scale
    np.testing.assert_allclose(data(2e4) / data(1e4), 2.0, rtol=1e-2)


def test_learned_arrays_of_the_page(page):
    config = dataclasses.replace(page.model.predictor, num_iter=3)
    params = init_params(config)
    assert params["mixing"].shape == (C, C) and params["log_limit_map"].shape == (3, 100)
    filt, feat, box, weight = problem(samples=3)
    filt = 5 * filt  # errors above the limit

    def end(params, config):
        solve = optimize_filter(params, filt, feat, box, weight, config, num_iter=3)
        return jnp.sum(solve.last**2), solve

    whole = dataclasses.replace(config, adjoint_options=(("share", 1.0),))
    tight = dataclasses.replace(config, objective_options=(("least", 5.0),))
    variants = (config, whole, tight)
    (faded, solve), (exact, same), (_, other) = jax.jit(
        lambda p: [jax.grad(end, has_aux=True)(p, variant) for variant in variants]
    )(params)
    assert solve.losses[-1] < 0.9 * solve.losses[0] < solve.losses[0] < other.losses[0]
    np.testing.assert_allclose(same.iterates, solve.iterates, rtol=1e-6, atol=1e-7)
    for name in ("mixing", "log_limit_map", "mask"):
        assert np.isfinite(faded[name]).all() and abs(faded[name]).max() > 0, name
    # Each iteration has its own map; the last one is behind one share, the first behind three.
    size = lambda grads, i: np.linalg.norm(grads["log_limit_map"][i])
    ratios = [size(faded, i) / size(exact, i) for i in range(3)]
    np.testing.assert_allclose(ratios, [0.64, 0.8, 1.0], rtol=1e-4)


def test_the_page_s_config_on_disk_and_in_the_studies(page, tmp_path):
    config = page.model.predictor
    read = configs.from_dict(configs.Config, json.loads(json.dumps(configs.to_dict(page))))
    assert read == page and hash(read) == hash(page)
    params, missing = adapt_params({"filter_reg": np.float32(0.1)}, config)
    assert {"mixing", "log_limit_map"} <= set(missing)
    assert adapt_params(params, config)[1] == []
    moved = {name: np.asarray(value) for name, value in params.items()}
    moved["mixing"] = moved["mixing"] + 0.5
    assert sensitivity.parts_of(config, moved)[-2:] == ["log_limit_map", "mixing"]
    back = sensitivity.set_back(moved, config, ["mixing"])
    np.testing.assert_array_equal(back["mixing"], params["mixing"])
    loss = functions.Loss("mine", config, moved)
    (row,) = [row for row in functions.deviation_rows([loss]) if row["part"] == "mixing"]
    assert (row["max"], row["L2"], row["max at (cells)"]) == (0.5, 0.5 * C, None)
    assert {row["number"] for row in functions.scalar_rows([loss])} == {"step_length", "lambda"}
    study_figures.own(tmp_path / "own.png", loss)
    # With ours among them, nothing is handed to parts that do not take it.
    compared = [arm.predictor for arm in arms.own_objective_arms(config, (0.5,), (0.1,))]
    adjoints = metagradient.adjoints_of(config, 2, (1,))
    assert compared[0].solver == config.solver and adjoints[config.adjoint] == config
    for predictor in (*compared, *(a.predictor for a in arms.kl_arms(config)), *adjoints.values()):
        shapes = lambda p, predictor=predictor: optimize_filter(
            adapt_params(p, predictor)[0], *problem(), predictor, num_iter=2
        )
        jax.eval_shape(shapes, params)


def test_commands_of_the_page(page, tmp_path, monkeypatch):
    """Each is parsed by the program that it is for, with the page's config."""
    commands = [list(command.words) for command in printed.commands(PAGE)]
    mine = lambda word: str(tmp_path / "my_config.py") if "my_config" in word else word
    given = [[mine(word) for word in words] for words in commands]
    train, evaluate, study = given
    assert train[:2] == ["python", "train.py"] and evaluate[:2] == ["python", "evaluate.py"]
    assert training.parse(train[2:], "train.py").settings == page
    args = evaluation.parse(evaluate[2:], "evaluate.py")
    assert args.settings.model == page.model and args.checkpoint == "runs/mine"
    seen = []
    monkeypatch.setattr(learned_loss, "run", lambda args, *_: seen.append(args))
    assert study[:2] == ["dimp-jax", "studies"] and studies.main(study[2:]) == 0
    assert configs.load(seen[0].config) == page and seen[0].quick


def test_the_ablation_of_the_page_s_config(page, tmp_path, monkeypatch):
    """What the base's parts have of their own goes where an arm has others."""
    importlib.import_module("my_parts").CHANNELS = page.model.clf_channels
    seen = {}
    take = lambda study, args, arms, configs, *_: seen.update(configs)
    monkeypatch.setattr(whole, "train_and_score", take)
    monkeypatch.setattr(report, "write", lambda *_: None)
    names = "initializer_only gradient_descent no_mask l2 mask_off kl update_none".split()
    argv = ["ablation", "--config", str(tmp_path / "my_config.py"), "--quick"]
    assert studies.main([*argv, "--out", str(tmp_path / "out"), "--arms", *names]) == 0
    assert list(seen) == ["my_parts:mixed_steps", *names]
    own = {name: of.model.predictor for name, of in seen.items()}
    base = seen["my_parts:mixed_steps"]
    assert own["update_none"] == base.model.predictor
    assert own["no_mask"].learned_own == page.model.predictor.learned_own
    assert own["l2"].solver_parameters and not own["l2"].objective_options
    assert not (own["kl"].solver_parameters or own["kl"].objective_parameters)
    assert base.model.clf_channels == page.model.clf_channels
    feature_pool.check(data.pool_config(base, 48, tmp_path), 1)  # the page trains the backbone
    odd = configs.changed(base, {"model.predictor.solver_options": (("odd", 1),)})
    with pytest.raises(InputError, match="arm odd: predictor.solver_options: my_parts:mixed_step"):
        run.check({"base": base, "odd": odd})
    rates = (("default", 1e-3), ("predictor/mixing", 1e-2), ("predictor/log_limit_map", 1e-2))
    slower = configs.changed(base, {"training.optim.learning_rates": rates})
    l2 = arms_of_ablation.config_of(arms_of_ablation.select(("l2",))[1], slower)
    assert l2.training.optim.learning_rates == rates[:2]
    slow = configs.changed(base, {"training.optim.learning_rates": (("predictor", 1e-3),)})
    with pytest.raises(InputError, match="arm slow: learning_rates has no entry for clf"):
        run.check({"slow": slow})


@pytest.mark.long
def test_a_training_step_with_the_config_of_the_page(page):
    importlib.import_module("my_parts").CHANNELS = small_training.TINY.clf_channels
    predictor = dataclasses.replace(page.model.predictor, num_iter=2)
    model = dataclasses.replace(small_training.TINY, predictor=predictor)
    optim = OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",))
    settings = small_training.settings(model, optim=optim)
    state = steps.init_state(small_training.variables(model), settings)
    step = jax.jit(steps.make_train_step(settings))
    after, metrics = step(state, small_training.batch(2))
    assert np.isfinite(metrics["loss"])
    for name, initial in init_params(predictor).items():
        assert abs(after.params["predictor"][name] - initial).max() > 0, name
    assert metrics["predictor/mixing/change"] == 0  # as this step used it
    _, metrics = step(after, small_training.batch(2))
    assert metrics["predictor/mixing/change"] > 0 and metrics["predictor/log_limit_map/change"] > 0
