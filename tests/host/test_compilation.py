"""The cache of compiled programs: what is damaged in it, and what cannot be written."""

import math
import os
import subprocess
import sys

import pytest

from dimp_jax.host import compilation

# argv: "damaged" or "read only". Says how often a program was compiled, and what was kept.
PROGRAM = """
import os, sys
from pathlib import Path
import jax, numpy
from dimp_jax.host import compilation

if sys.argv[1] == "read only":
    compilation.os.access = lambda *_: False
compilation.enable_cache()
print(jax.config.jax_persistent_cache_min_compile_time_secs)
if sys.argv[1] == "damaged":
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
folder = Path(jax.config.jax_compilation_cache_dir)

@jax.jit
def one(x):
    return x + 1

@jax.jit
def other(x):
    return x + 2

for turn in range(3):
    jax.clear_caches()
    print(float(one(numpy.float32(turn))), float(other(numpy.float32(turn))))
    found = sorted(folder.glob("*-cache"))
    print(*(f"{path.name.split('-')[0]} {path.stat().st_size}" for path in found))
    if turn == 0 and found:
        found[0].write_bytes(found[0].read_bytes()[:40])
"""


def in_a_process(what, tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for name in list(environment):
        if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")):
            del environment[name]
    command = [sys.executable, "-c", PROGRAM, what]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


def test_a_damaged_program_is_compiled_anew_and_told_once(tmp_path):
    done = in_a_process("damaged", tmp_path)
    least_s, *lines = done.stdout.splitlines()
    assert float(least_s) == 0.1
    assert lines[::2] == ["1.0 2.0", "2.0 3.0", "3.0 4.0"]
    first, second, third = lines[1::2]
    assert first.split()[::2] == ["jit_one", "jit_other"]
    sizes = [int(text) for text in second.split()[1::2]]
    assert min(sizes) > 40 and second == third
    folder = tmp_path / "dimp_jax" / "jax"
    assert done.stderr.strip() == f"{folder}: jit_one is damaged, and made anew"


def test_a_folder_that_can_only_be_read(tmp_path):
    done = in_a_process("read only", tmp_path)
    least_s, *lines = done.stdout.splitlines()
    assert float(least_s) == math.inf and done.stderr == ""
    assert lines[::2] == ["1.0 2.0", "2.0 3.0", "3.0 4.0"] and not any(lines[1::2])


@pytest.mark.parametrize("text", ["something else", "Error writing persistent compilation cache"])
def test_other_warnings_are_shown(tmp_path, text):
    (tmp_path / "jit_one-1-cache").write_text("kept")
    shown = []
    show = lambda *args, **kwargs: shown.append((*args, *kwargs))
    compilation._show_warning(tmp_path, show, text, UserWarning, "a.py", 3, line="x")
    assert shown == [(text, UserWarning, "a.py", 3, "line")]
    assert (tmp_path / "jit_one-1-cache").exists()
