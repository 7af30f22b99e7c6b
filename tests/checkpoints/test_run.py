"""Checkpoints of a training run: what comes back, what is kept, what happens to damaged ones."""

import json
import logging

import numpy as np
import optax
import pytest

from dimp_jax.checkpoints import CheckpointError, run
from dimp_jax.training.steps import TrainState


def state(step, factor=None):
    factor = step if factor is None else factor
    params = {
        "backbone": {"conv": {"kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4) * factor}},
        "predictor": {"filter_reg": np.asarray(0.1 * factor, np.float32)},
    }
    optimizer = optax.partition(
        {"a": optax.adam(1e-3), "b": optax.set_to_zero()},
        {"backbone": {"conv": {"kernel": "a"}}, "predictor": {"filter_reg": "b"}},
    )
    opt_state = optax.tree.map_params(
        optimizer, lambda leaf: np.asarray(leaf) + factor, optimizer.init(params)
    )
    opt_state = _numpy(opt_state)
    stats = {"backbone": {"norm": {"mean": np.full(3, factor, np.float32)}}}
    return TrainState(np.asarray(step, np.int32), params, stats, opt_state)


def _numpy(tree):
    import jax

    return jax.tree.map(np.asarray, tree)


def assert_same(a, b):
    import jax

    left, right = jax.tree.leaves(a), jax.tree.leaves(b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(left, right, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)


def save(workdir, steps, scores=None, keep_last=2, of="validation/auc"):
    with run.RunCheckpoints(workdir, keep_last=keep_last) as checkpoints:
        for step in steps:
            score = (of, scores[step]) if step in (scores or {}) else None
            checkpoints.save(state(step), score=score)


def restore(workdir):
    with run.RunCheckpoints(workdir, keep_last=2) as checkpoints:
        return checkpoints.restore(state(0))


def steps_in(workdir):
    return sorted(int(p.name) for p in (workdir / run.FOLDER).glob("*") if p.name.isdecimal())


def test_round_trip(tmp_path):
    save(tmp_path, [7])
    assert_same(restore(tmp_path), state(7))


def test_nothing_there(tmp_path):
    assert restore(tmp_path) is None


def test_keeps_the_last_two_and_the_best(tmp_path):
    scores = {2: 0.4, 3: 0.6, 5: 0.5}
    save(tmp_path, range(1, 5), scores)
    save(tmp_path, range(5, 8), scores)  # resumed
    assert steps_in(tmp_path) == [3, 6, 7]
    assert run.step_folder(tmp_path).name == "3"  # for evaluation
    assert int(restore(tmp_path).step) == 7  # for going on


def test_only_scores_of_the_same_are_compared(tmp_path):
    save(tmp_path, [1, 2, 3], {1: 0.3, 2: 0.2}, keep_last=1)
    save(tmp_path, [4, 5, 6], {4: -24.0, 5: -25.0}, keep_last=1, of="validation/loss")
    assert steps_in(tmp_path) == [1, 4, 6]
    assert run.step_folder(tmp_path).name == "4"
    for step, score in ((1, 2.9), (4, -1.0)):  # as an earlier version wrote a loss, here of KL
        meta = tmp_path / run.FOLDER / str(step) / "meta" / "metadata"
        values = json.loads(meta.read_text()) | {"score": score}
        del values["score_of"]
        meta.write_text(json.dumps(values))
    assert run.step_folder(tmp_path).name == "1"
    save(tmp_path, [7, 8], {7: 0.1}, keep_last=1)
    assert steps_in(tmp_path) == [1, 7, 8]
    assert run.step_folder(tmp_path).name == "7"


def test_without_scores_the_latest_counts(tmp_path):
    save(tmp_path, [1, 2, 10])
    assert run.step_folder(tmp_path).name == "10"
    assert run.step_folder(tmp_path / run.FOLDER / "2").name == "2"
    assert run.step_folder(tmp_path / run.FOLDER / "5") is None
    assert run.step_folder(tmp_path / "elsewhere") is None


def test_variables_of_a_step(tmp_path):
    save(tmp_path, [3])
    found = run.load_variables(run.step_folder(tmp_path))
    assert_same(found, {"params": state(3).params, "batch_stats": state(3).batch_stats})


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_byte(folder):
    path = largest_file(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def truncate(folder):
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[:-20])


def remove(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, remove])
@pytest.mark.parametrize("part", ["variables", "optimizer", "meta"])
def test_a_damaged_latest_falls_back_with_a_warning(tmp_path, caplog, damage, part):
    save(tmp_path, [4, 8])
    damage(tmp_path / run.FOLDER / "8" / part)
    with caplog.at_level(logging.WARNING, logger="dimp_jax"):
        restored = restore(tmp_path)
    assert_same(restored, state(4))
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("dimp_jax")]
    assert "damaged" in warning and str(tmp_path / run.FOLDER / "8") in warning
    # The step can be reached, and saved, again; the damaged one is kept to be looked at.
    assert steps_in(tmp_path) == [4] and (tmp_path / run.SET_ASIDE / "8").is_dir()
    save(tmp_path, [8])
    assert int(restore(tmp_path).step) == 8


def test_all_damaged(tmp_path):
    save(tmp_path, [4, 8])
    for step in "48":
        flip_a_byte(tmp_path / run.FOLDER / step / "variables")
    with pytest.raises(CheckpointError, match="all 2 checkpoints are damaged.*another --workdir"):
        restore(tmp_path)


def test_a_save_that_was_cut_short_is_not_seen(tmp_path):
    save(tmp_path, [4])
    cut = tmp_path / run.FOLDER / "8.orbax-checkpoint-tmp"
    (cut / "variables").mkdir(parents=True)
    assert run.step_folder(tmp_path).name == "4"
    assert int(restore(tmp_path).step) == 4


def test_another_network_is_no_damage(tmp_path):
    save(tmp_path, [4])
    other = state(0)
    other.params["backbone"]["conv"]["kernel"] = np.zeros((5, 5), np.float32)
    with run.RunCheckpoints(tmp_path, keep_last=2) as checkpoints:
        with pytest.raises(ValueError, match=r"does not fit the config: .*kernel.*\(2, 3, 4\)"):
            checkpoints.restore(other)
    assert steps_in(tmp_path) == [4]


def test_the_digest_covers_names_types_and_bytes():
    base = {"a": np.zeros(4, np.float32)}
    others = [
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.array([0, 0, 0, -0.0], np.float32)},
    ]
    digests = {json.dumps(run.digest(tree)) for tree in [base, *others]}
    assert len(digests) == 5
    assert run.digest(base) == run.digest({"a": np.zeros(4, np.float32)})
