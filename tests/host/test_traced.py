"""Traced programs on disk: read by the next process, never a wrong one, never in the way."""

import functools
import logging
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.host import traced

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the entries of a test go."""
    monkeypatch.setattr(traced, "_folder", lambda: tmp_path / "cache" / "traced")
    return tmp_path / "cache" / "traced"


def a_process(made_from="a", scale=1.0):
    """(a program as a new process has it, a list that grows whenever it is traced)."""
    traces = []

    def program(params, x, *, power):
        traces.append(power)
        product = jnp.matmul(x, params["w"], precision="highest")
        return {"y": scale * jnp.tanh(product) ** power, "rest": (x[0], None)}

    return jax.jit(traced.kept(program, made_from), static_argnames="power"), traces


def run(process, power=2, x=X):
    return process({"w": X.T}, x, power=power)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def files_of(folder):
    return sorted(folder.iterdir())


def test_the_second_process_traces_nothing(folder):
    first, traces = a_process()
    made = run(first)
    run(first)
    assert traces == [2] and first._cache_size() == 1
    (path,) = files_of(folder)
    before = path.read_bytes()
    second, traces = a_process()
    assert_same(run(second), made)
    assert traces == [] and second._cache_size() == 1 and path.read_bytes() == before
    plain = jax.jit(second.__wrapped__.__wrapped__, static_argnames="power")
    assert_same(run(plain), made)
    assert traces == [2]


@pytest.mark.parametrize(
    "other",
    [
        lambda: run(a_process("b")[0]),
        lambda: run(a_process()[0], power=3),
        lambda: run(a_process()[0], x=X[:2]),
        lambda: run(a_process()[0], x=X.astype(np.float16)),
    ],
    ids=["origin", "static", "shape", "type"],
)
def test_another_program_is_another_entry(folder, other):
    run(a_process()[0])
    other()
    assert len(files_of(folder)) == 2


def test_options_of_jax_make_another_entry(folder):
    run(a_process()[0])
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        run(a_process()[0])
    assert len(files_of(folder)) == 2


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "its header alone": lambda data: data[: 2 * traced.DIGEST_BYTES],
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "something else": lambda data: b"not a program " * 50,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew_and_told_once(folder, damage, caplog):
    made = run(a_process()[0])
    (path,) = files_of(folder)
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    process, traces = a_process()
    with caplog.at_level(logging.WARNING, "dimp_jax"):
        assert_same(run(process), made)
    assert [r.getMessage() for r in caplog.records] == [f"{path} is damaged, and made anew"]
    assert traces == [2] and files_of(folder) == [path]
    caplog.clear()
    process, traces = a_process()
    assert_same(run(process), made)
    assert traces == [] and not caplog.records


def test_the_entry_of_another_program_under_this_name(folder):
    """As after a wrong copy: whole in itself, and still not taken."""
    made = run(a_process()[0])
    (path,) = files_of(folder)
    run(a_process("b", scale=2.0)[0])
    (other,) = set(files_of(folder)) - {path}
    path.write_bytes(other.read_bytes())
    process, traces = a_process()
    assert_same(run(process), made)
    assert traces == [2]


def test_other_sources_make_it_anew_without_a_word(folder, monkeypatch, caplog):
    run(a_process()[0])
    (path,) = files_of(folder)
    sources = functools.cache(lambda: b"x" * traced.DIGEST_BYTES)
    monkeypatch.setattr(traced, "_sources", sources)
    process, traces = a_process(scale=2.0)
    with caplog.at_level(logging.WARNING, "dimp_jax"):
        doubled = run(process)
    assert traces == [2] and files_of(folder) == [path] and not caplog.records
    process, traces = a_process(scale=2.0)
    assert_same(run(process), doubled)
    assert traces == []


def test_after_a_change_of_the_package_nothing_is_kept(folder, monkeypatch):
    """This process may still run the code from before the change."""
    monkeypatch.setattr(sys.modules["dimp_jax"], "IMPORTED_S", 0.0)
    monkeypatch.setattr(traced, "_sources", functools.cache(traced._sources.__wrapped__))
    process, traces = a_process()
    run(process)
    assert traces == [2] and not folder.exists()


def test_a_change_while_it_is_traced(folder, monkeypatch):
    traced._sources()
    monkeypatch.setattr(sys.modules["dimp_jax"], "IMPORTED_S", 0.0)
    run(a_process()[0])
    assert not folder.exists()


def test_where_nothing_can_be_written(folder):
    folder.parent.mkdir()
    folder.write_text("a file, where a folder should be made")
    made = run(a_process()[0])
    process, traces = a_process()
    assert_same(run(process), made)
    assert traces == [2] and folder.is_file()


def test_what_cannot_be_exported_still_runs(folder):
    def program(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    np.testing.assert_allclose(jax.jit(traced.kept(program, "a"))(X), np.sin(X), rtol=1e-6)
    assert not folder.exists()


def test_errors_of_the_function_are_its_own(folder):
    def program(x):
        raise ValueError(f"x has {x.ndim} axes")

    with pytest.raises(ValueError, match="x has 2 axes"):
        jax.jit(traced.kept(program, "a"))(X)
    assert not folder.exists()


def test_the_folder_is_that_of_the_compiled_programs():
    assert str(traced._folder()) == os.path.join(jax.config.jax_compilation_cache_dir, "traced")
    empty = ("jax_compilation_cache_dir", "")
    for name, value in (("jax_debug_nans", True), ("jax_disable_jit", True), empty):
        before = getattr(jax.config, name)
        jax.config.update(name, value)
        try:
            assert traced._folder() is None
        finally:
            jax.config.update(name, before)
    with jax.default_device(jax.devices()[-1]):
        assert traced._folder() is None


def test_processes_write_at_the_same_time(folder):
    """Threads, here: each finds nothing, and all of them write the same entry."""
    from concurrent.futures import ThreadPoolExecutor

    def one(_):
        process, traces = a_process()
        return run(process), traces

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(one, range(4)))
    for result, _ in made[1:]:
        assert_same(result, made[0][0])
    assert len(files_of(folder)) == 1
    process, traces = a_process()
    assert_same(run(process), made[0][0])
    assert traces == []
