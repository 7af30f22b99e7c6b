"""Set before jax is imported: four virtual CPU devices, no silent rank promotion, and a cache of
compiled programs for this test session and the processes that it starts."""

import atexit
import collections
import importlib.metadata
import os
import shutil
import signal
import tempfile

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()

# A shell starts its background jobs deaf to Ctrl-C, and so would be the processes of the tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = tempfile.mkdtemp(prefix="dimp_jax_tests_")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax  # the flag above must come first
import pytest
from jax._src import compiler

jax.config.update("jax_numpy_rank_promotion", "raise")
# Rooms whose tests compile for longer than they run.
BRIEF_ROOMS = ("docs", "export", "models", "predictor", "tracking", "training")
EMITTERS = "xla_cpu_use_fusion_emitters"
# Only where it was tried: XLA ends a process that gives it an unknown flag.
FORMER_IS_KNOWN = importlib.metadata.version("jaxlib").startswith("0.10.")


@pytest.fixture(scope="session", autouse=True)
def faster_compiler_of_started_processes():
    """Lets the processes that tests start compile with XLA's former code generator.

    Their programs are compiled for longer than they run, and it takes a third of the time.
    """
    jax.devices()  # XLA reads its flags here, once
    if FORMER_IS_KNOWN and EMITTERS not in os.environ["XLA_FLAGS"]:
        os.environ["XLA_FLAGS"] += f" --{EMITTERS}=false"


@pytest.fixture(scope="module", autouse=True)
def faster_compiler(request):
    """The same in this process, and little optimisation in `BRIEF_ROOMS`, but for modules marked
    `optimised`.

    Not for the golden tests: the programs of network, predictor and tracker are compiled as a
    user's are, those of the training with the former code generator.

    There is no public way to give an option to every compilation from here on.
    """
    name = request.path.stem
    golden = name.startswith("test_golden")
    usual_optimisation = golden or request.node.get_closest_marker("optimised")
    if request.path.parent.name in BRIEF_ROOMS and not usual_optimisation:
        jax.config.update("jax_disable_most_optimizations", True)
        request.addfinalizer(lambda: jax.config.update("jax_disable_most_optimizations", False))
    if not FORMER_IS_KNOWN or (golden and name != "test_golden_train"):
        yield
        return
    usual = compiler.get_compile_options

    def former(*args, **kwargs):
        options = usual(*args, **kwargs)
        options.env_option_overrides = [*options.env_option_overrides, (EMITTERS, False)]
        return options

    compiler.get_compile_options = former
    yield
    compiler.get_compile_options = usual


@pytest.fixture
def small_backbone():
    """The short backbone of `tests/support/small_tracker.py`."""
    from tests.support import small_tracker

    with small_tracker.small_backbone():
        yield


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first: with two processes, none of them is left to the end."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # stable: the order within a file stays
