"""The study `ablation`: arms as configs, the same numbers as single trainings, going on, tables."""

import contextlib
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.predictor import predict
from dimp_jax.predictor.objectives import Samples, hinge
from dimp_jax.studies import __main__ as command
from dimp_jax.studies import ablation
from dimp_jax.studies.ablation import arms, objectives
from dimp_jax.studies.trainings import data, fit, options, settings, train
from dimp_jax.training.feature_pool import FeaturePool

FOLDER = configs.config_dir() / "ablations"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
PREDICTOR, MEMORY = "model.predictor.", "tracker.memory."
SOLVER = PREDICTOR + "solver"
LEARNED, LOSS = PREDICTOR + "learned.", "training.loss."
PARTS = ("label", "mask", "weight", "filter_reg", "log_step_length")
ITERATIONS = ("init_iterations", "update_iterations", "hard_negative_iterations")
GRADIENT_DESCENT = {SOLVER: "gradient_descent", PREDICTOR + "init_step_length": 0.16}
WITHOUT_MASK = "dimp_jax.studies.ablation.objectives:without_mask"
CHANGES = {  # all that each arm changes of dimp_lite0
    "steepest_descent": {},
    "update_memory": {},
    "initializer_only": {SOLVER: "initializer_only"},
    "gradient_descent": GRADIENT_DESCENT,
    "gradient_descent_fixed": GRADIENT_DESCENT | {LEARNED + "log_step_length": "initial"},
    "no_label": {LEARNED + "label": "initial"},
    "no_mask": {LEARNED + "mask": "initial"},
    "no_weight": {LEARNED + "weight": "initial"},
    "no_regularizer": {LEARNED + "filter_reg": "initial"},
    "no_step_length": {LEARNED + "log_step_length": "initial"},
    "no_learned_loss": {LEARNED + part: "initial" for part in PARTS},
    "l2": {PREDICTOR + "objective": "l2"},
    "plain_l2": {PREDICTOR + "objective": "l2", PREDICTOR + "l2_hinge_threshold": -1.0},
    "mask_off": {PREDICTOR + "objective": WITHOUT_MASK},
    "kl": {
        **{PREDICTOR + "objective": "kl", SOLVER: "newton", PREDICTOR + "alpha_eps": 0.05},
        **{LOSS + "classification": "kl", LOSS + "final": 0.25},
        **{LOSS + "initial": 0.25, LOSS + "iterates": 1.0},
    },
    "iterations_1": {PREDICTOR + "num_iter": 1},
    "iterations_10": {PREDICTOR + "num_iter": 10},
    "tracking_1": {MEMORY + name: 1 for name in ITERATIONS[:2]},
    "tracking_20": dict(zip((MEMORY + n for n in ITERATIONS), (20, 4, 2), strict=True)),
    **{
        f"iterations_{trained}_tracking_{tracked}": {PREDICTOR + "num_iter": trained}
        | dict(zip((MEMORY + n for n in ITERATIONS), counts, strict=False))
        for trained in (1, 10)
        for tracked, counts in ((1, (1, 1)), (20, (20, 4, 2)))
    },
    "update_none": {MEMORY + "update": "none"},
    "update_moving_average": {MEMORY + "update": "moving_average", MEMORY + "train_interval": 1},
}
NO_ARMS = {arms.BASE, "update_memory", "all_data"}  # the base twice, and the study's config


def changes(old, new):
    return {
        name: to for name, _, to in configs.differences(configs.to_dict(old), configs.to_dict(new))
    }


# ------------------------------------------------------------------------------ configs


def test_every_arm_changes_what_it_says_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(NAMES) == {arm.name for arm in arms.ARMS} | NO_ARMS
    assert set(CHANGES) == set(NAMES) - {"all_data"}
    base = configs.load("dimp_lite0")
    for name in CHANGES:
        loaded = configs.load(f"ablations/{name}")
        assert changes(base, loaded) == CHANGES[name], name
        assert configs.load(f"configs/ablations/{name}.py") == loaded
        assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 14


def test_a_wrong_name_lists_the_near_ones():
    with pytest.raises(FileNotFoundError, match="one of: ablations/no_label"):
        configs.load("ablations/no_labl")
    assert {"dimp18", "ablations/kl"} <= set(configs.shipped_names())


@pytest.mark.parametrize("name", ["no_mask", "kl", "update_moving_average"])
def test_arms_of_another_base(name):
    base = configs.load("dimp18")
    arm = next(arm for arm in arms.ARMS if arm.name == name)
    assert changes(base, arms.config_of(arm, base)) == CHANGES[name]


def test_arms_are_chosen_by_name():
    assert [arm.name for arm in arms.select(())] == [arms.BASE, *(a.name for a in arms.ARMS)]
    assert [arm.name for arm in arms.select(("l2", arms.BASE))] == [arms.BASE, "l2"]
    assert arms.select(("dimp_lite0",))[1].question == "other"
    with pytest.raises(InputError, match="--arms no_lable: expected some of steepest_descent, ini"):
        arms.select(("no_lable",))
    with pytest.raises(InputError, match="l2 is given twice"):
        arms.select(("l2", "l2"))


def test_an_arm_that_trains_nothing_has_the_weights_of_another():
    assert arms.select(("tracking_1",), "newton")[1].weights_of == "newton"
    crossed = arms.select(("iterations_1_tracking_20", "iterations_1"))[1]
    assert crossed.weights_of == "iterations_1"
    with pytest.raises(InputError, match="tracks with the weights of iterations_1; name that, too"):
        arms.select(("iterations_1_tracking_20",))


def test_arms_that_cannot_share_features_are_refused():
    base = configs.load("dimp_lite0")
    both = arms.select(("dimp18",))
    with pytest.raises(InputError, match="--arms dimp18: another backbone and iou_channels and tr"):
        settings.check_arms(both, {arms.BASE: base, "dimp18": configs.load("dimp18")})


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seeds", "0"], "--seeds 0: expected at least 1"),
        (["--pool-samples", "50"], "--pool-samples 50: expected a multiple of 16; nearest: 48"),
        (["--pool-samples", "64", "--held-out", "64"], "must fill a batch of 16"),
        (["--save-every", "25"], "--save-every 25: expected multiples of 10"),
        (["--score-at", "640", "2000"], "expected steps up to --steps 1900"),
        (["--arms", "nothing"], "--arms nothing: expected some of"),
        (
            [],
            "ablations/all_data is trained on davis16, more_videos, stills, more_stills, composite",
        ),
    ],
)
def test_wrong_options_are_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    out = tmp_path / "out"
    assert command.main(["ablation", "--out", str(out), *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
    assert not out.exists()


def test_the_schedule_shrinks_with_the_steps(tmp_path):
    args = ablation.Arguments(out=tmp_path, data_dir=tmp_path, steps=380, score_at=())
    training = settings.base_config(args).training
    optim = training.optim
    assert (training.total_steps, optim.decay_every_steps, optim.warmup_steps) == (380, 300, 20)
    given = ablation.Arguments(out=tmp_path, quick=True, steps=7, score_at=(640, 1280))
    argv = ["ablation", "--steps=7", "--score-at", "640", "1280"]  # the latter as by default
    quick = options.quickened(given, ablation.QUICK, [*argv, "--data", "frames"])
    assert (quick.steps, quick.score_at) == (7, (640, 1280))
    assert quick.frames == options.QUICK["frames"]
    assert quick.pool_samples == options.QUICK["pool_samples"]
    assert settings.base_config(quick).training.data.sources == (("synthetic", 1.0),)


# ----------------------------------------------------------------- checkpoints and going on


def members(*names, seeds=(0,)):
    base = configs.load("dimp_lite0")
    tiny = dataclasses.replace(
        base, model=dataclasses.replace(base.model, clf_channels=4, iou_channels=4)
    )
    of = {arm.name: arm for arm in arms.select(())}
    return [
        train.Member(name, seed, data.pool_config(arms.config_of(of[name], tiny), 16, "pool"))
        for name in names
        for seed in seeds
    ]


def heads(seed):
    """Stand-ins for the heads of dimp_lite0, drawn by the seed."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    return {
        "params": {
            "clf": {"conv": {"kernel": draw(3, 3, 2, 4)}},
            "filter_init": {"conv": {"kernel": draw(3, 3, 4, 4), "bias": draw(4)}},
            "predictor": {},
        },
        "batch_stats": {},
    }


SHARED = {
    "params": {"backbone": {"k": np.ones(2, np.float32)}, "iou": {"k": np.ones(3, np.float32)}},
    "batch_stats": {},
}


def test_groups_are_arms_of_one_program():
    groups = train.grouped(
        members("steepest_descent", "no_label", "l2", "no_learned_loss", seeds=(0, 1))
    )
    names = [[member.name for member in group.members] for group in groups]
    assert names == [
        [f"{a}-{s}" for a in ("steepest_descent", "no_label", "no_learned_loss") for s in (0, 1)],
        ["l2-0", "l2-1"],
    ]
    # In the norm that clipping compares, a part that is left out must not count.
    clipped = []
    for member in members("steepest_descent", "no_label"):
        values = configs.to_dict(member.config)
        values["training"]["optim"]["clip_norm"] = 1.0
        clipped.append(member._replace(config=configs.from_dict(configs.Config, values)))
    assert len(train.grouped(clipped)) == 2


def test_a_stopped_training_goes_on_to_the_same_end(tmp_path, monkeypatch):
    groups = train.grouped(members("steepest_descent", "no_mask", "l2"))
    states = train.init_states(groups, SHARED, heads)

    def make_step(groups):
        def of(state, batch):
            moved = jax.tree.map(lambda leaf: leaf + batch, train.own_part(state)["params"])
            own = train.own_part(state) | {"params": moved}
            count = state.opt_state[0].mu["clf"]["conv"]["kernel"].shape[0]
            metrics = {name: jnp.full(count, batch) for name in train.METRICS}
            return train.with_own(state, own).replace(step=state.step + 1), metrics

        return lambda states, batch: tuple(zip(*(of(s, batch) for s in states), strict=True))

    monkeypatch.setattr(fit.train, "make_step", make_step)
    monkeypatch.setattr(fit, "LOG_EVERY", 2)
    numbers = lambda pool, config, seeds, start: map(jnp.float32, itertools.count(start + 1))
    monkeypatch.setattr(fit.data, "batches", numbers)
    console = rich.console.Console(quiet=True)

    def run(folder, steps):
        folder.mkdir(exist_ok=True)
        options = {"steps": steps, "save_every": 2, "keep": (2, 4, 6), "console": console}
        return fit.fit(states, groups, None, None, folder, **options)

    straight, curves = run(tmp_path / "straight", 6)
    np.testing.assert_array_equal(curves["loss/final"], np.array([[1.5] * 3, [3.5] * 3, [5.5] * 3]))
    kernel = heads(0)["params"]["clf"]["conv"]["kernel"]
    np.testing.assert_allclose(
        straight[0].params["clf"]["conv"]["kernel"][1], kernel + 21, rtol=1e-6
    )
    run(tmp_path / "stopped", 4)
    resumed, same = run(tmp_path / "stopped", 6)
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)
    jax.tree.map(np.testing.assert_array_equal, same, curves)
    assert int(resumed[0].step) == 6
    earlier, points = run(tmp_path / "straight", 2)  # of a training that has gone on
    assert int(earlier[0].step) == 2 and len(points["loss/final"]) == 1
    with pytest.raises(InputError, match="is at step 6 and did not keep step 5: leave it out"):
        run(tmp_path / "straight", 5)  # not a fresh training
    own = train.member_variables(straight[1], 0)
    assert own["params"]["clf"]["conv"]["kernel"].shape == kernel.shape
    np.testing.assert_array_equal(own["params"]["iou"]["k"], SHARED["params"]["iou"]["k"])


def test_held_out_samples_are_not_trained_on(monkeypatch, tmp_path):
    whole = FeaturePool({"block10": np.arange(32)[:, None]}, np.arange(32)[:, None], 32)
    opened = lambda *_, **__: contextlib.nullcontext(whole)
    monkeypatch.setattr(data.feature_pool, "opened", opened)
    config = data.pool_config(configs.load("dimp_lite0"), 32, tmp_path)
    pool, held = data.pools(config, None, tmp_path, 16, rich.console.Console(quiet=True))
    assert pool.maps["block10"].ravel().tolist() == list(range(16))
    assert held.box_xywh.ravel().tolist() == list(range(16, 32))


def test_each_seed_has_batches_of_its_own(monkeypatch, tmp_path):
    boxes = np.tile(np.float32([8, 8, 16, 16]), (32, 6, 1))
    pool = FeaturePool({"block10": np.arange(32 * 6).reshape(32, 6)}, boxes, 32)
    config = data.pool_config(configs.load("dimp_lite0"), 32, tmp_path)
    drawn = lambda seeds, start: next(data.batches(pool, config, seeds, start)).train_crops
    both = drawn((0, 1), 0)["block10"]
    assert both.shape == (2, 16, 3) and not np.array_equal(*both)
    np.testing.assert_array_equal(drawn((1,), 0)["block10"][0], both[1])
    first = data.batches(pool, config, (0, 1), 0)
    second = list(itertools.islice(first, 2))[1].train_crops["block10"]
    np.testing.assert_array_equal(drawn((0, 1), 1)["block10"], second)


def test_without_a_mask_every_score_counts():
    """The loss with a mask of 1 is that of a hinge that is nowhere."""
    predictor = configs.load("ablations/mask_off").model.predictor
    params = predict.initial_values(predictor)
    key = jax.random.key(0)
    filt, feat = jax.random.normal(key, (4, 4, 2)), jax.random.normal(key, (1, 6, 6, 2))
    samples = Samples(feat, jnp.array([[40.0, 40.0, 16.0, 16.0]]), jnp.ones(1), 16, 4)
    off = objectives.without_mask(params, samples, predictor)(filt, 0)
    huge = params | {"mask": jnp.full_like(params["mask"], 50.0)}  # its sigmoid is 1
    np.testing.assert_allclose(off.loss, hinge(huge, samples, predictor)(filt, 0).loss, rtol=1e-6)
    assert off.loss > hinge(params, samples, predictor)(filt, 0).loss
