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
from dimp_jax.studies import __main__ as command
from dimp_jax.studies import ablation
from dimp_jax.studies.ablation import arms, data, fit, report, settings, train
from dimp_jax.training.feature_pool import FeaturePool

FOLDER = configs.config_dir() / "ablations"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
PREDICTOR, MEMORY = "model.predictor.", "tracker.memory."
SOLVER = PREDICTOR + "solver"
LEARNED, LOSS = PREDICTOR + "learned.", "training.loss."
PARTS = ("label", "mask", "weight", "filter_reg", "log_step_length")
CHANGES = {  # all that each arm changes of dimp_lite0
    "steepest_descent": {},
    "update_memory": {},
    "initializer_only": {SOLVER: "initializer_only"},
    "gradient_descent": {SOLVER: "gradient_descent", PREDICTOR + "init_step_length": 0.16},
    "no_label": {LEARNED + "label": "initial"},
    "no_mask": {LEARNED + "mask": "initial"},
    "no_weight": {LEARNED + "weight": "initial"},
    "no_regularizer": {LEARNED + "filter_reg": "initial"},
    "no_step_length": {LEARNED + "log_step_length": "initial"},
    "no_learned_loss": {LEARNED + part: "initial" for part in PARTS},
    "l2": {PREDICTOR + "objective": "l2"},
    "kl": {
        **{PREDICTOR + "objective": "kl", SOLVER: "newton"},
        **{LOSS + "classification": "kl", LOSS + "final": 0.25},
        **{LOSS + "initial": 0.25, LOSS + "iterates": 1.0},
    },
    "update_none": {MEMORY + "update": "none"},
    "update_moving_average": {MEMORY + "update": "moving_average", MEMORY + "train_interval": 1},
}


def changes(old, new):
    return {
        name: to for name, _, to in configs.differences(configs.to_dict(old), configs.to_dict(new))
    }


# ------------------------------------------------------------------------------ configs


def test_every_arm_changes_what_it_says_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        set(NAMES)
        == set(CHANGES)
        == {arm.name for arm in arms.ARMS}
        | {
            arms.BASE,
            "update_memory",
        }
    )
    base = configs.load("dimp_lite0")
    for name in NAMES:
        loaded = configs.load(f"ablations/{name}")
        assert changes(base, loaded) == CHANGES[name], name
        assert configs.load(f"configs/ablations/{name}.py") == loaded
        assert len((FOLDER / f"{name}.py").read_text().splitlines()) < 20


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


def test_arms_that_cannot_share_features_are_refused():
    base = configs.load("dimp_lite0")
    both = arms.select(("dimp18",))
    with pytest.raises(InputError, match="--arms dimp18: another backbone and iou_channels and tr"):
        settings.check_arms(both, {arms.BASE: base, "dimp18": configs.load("dimp18")})


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seeds", "0"], "--seeds 0: expected at least 1"),
        (["--samples", "50"], "--samples 50: expected a multiple of 16; nearest: 48"),
        (["--samples", "64", "--held-out", "64"], "must fill a batch of 8"),
        (["--arms", "nothing"], "--arms nothing: expected some of"),
        ([], "dimp_lite0 is trained on davis16, stills, composite: give the folder"),
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
    args = ablation.Arguments(out=tmp_path, data_dir=tmp_path, steps=380)
    training = settings.base_config(args).training
    optim = training.optim
    assert (training.total_steps, optim.decay_every_steps, optim.warmup_steps) == (380, 300, 20)
    quick = ablation.quickened(ablation.Arguments(out=tmp_path, quick=True, steps=7))
    assert (quick.steps, quick.samples) == (7, ablation.QUICK["samples"])
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
    numbers = lambda pool, config, start: map(jnp.float32, itertools.count(start + 1))
    monkeypatch.setattr(fit.data, "batches", numbers)
    console = rich.console.Console(quiet=True)

    def run(folder, steps):
        folder.mkdir(exist_ok=True)
        return fit.fit(
            states, groups, None, None, folder, steps=steps, save_every=3, console=console
        )

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


# ------------------------------------------------------------------------------ the report


def test_table_has_differences_of_the_same_seed():
    chosen = arms.select(("initializer_only", "update_none"))
    base, other, tracked = (arm.name for arm in chosen)
    scores = {
        (base, 0): {"a": 0.5, "b": 0.7},
        (base, 1): {"a": 0.7, "b": 0.7},
        (other, 0): {"a": 0.4, "b": 0.6},
        (other, 1): {"a": 0.4, "b": 0.8},
        (tracked, 0): {"a": 0.6, "b": 0.6},
        (tracked, 1): {"a": 0.6, "b": 0.8},
    }
    losses = {(base, 0): 1.0, (base, 1): 3.0, (other, 0): 4.0, (other, 1): 4.0}
    first, second, third = report.rows(chosen, (0, 1), scores, losses)
    assert first["AUC"] == pytest.approx(0.65) and first["spread"] == pytest.approx(
        0.0707, abs=1e-4
    )
    assert (first["difference"], first["held out"], first["published"]) == (None, 2.0, 63.8)
    assert second["difference"] == pytest.approx(-0.1)
    assert second["spread of it"] == pytest.approx(0.0, abs=1e-12)
    assert second["published difference"] == pytest.approx(-5.6)
    assert third["difference"] == pytest.approx(0.0) and third["held out"] is None


def test_plots_are_written(tmp_path):
    groups = train.grouped(members("steepest_descent", "l2", seeds=(0, 1)))
    curves = {name: np.linspace(2, 1, 28, dtype=np.float32).reshape(7, 4) for name in train.METRICS}
    rows = report.curve_rows(groups, curves, 10, 65)
    assert [row["step"] for row in rows[:5]] == [10, 10, 10, 10, 20] and rows[-1]["step"] == 65
    assert rows[2]["arm"] == "l2" and rows[3]["seed"] == 1
    report.draw_curves(tmp_path / "curves.png", rows)
    chosen = arms.select(("l2",))
    scores = {(arm.name, s): {"a": 0.5 + 0.1 * s} for arm in chosen for s in (0, 1)}
    table = report.rows(chosen, (0, 1), scores, {})
    report.draw_bars(tmp_path / "auc.png", table, chosen, (0, 1), scores)
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("curves", "auc"))
