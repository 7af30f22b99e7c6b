"""What the studies compute of the predictor is exact on every device, as the predictor is."""

import dataclasses

import jax
import pytest

from dimp_jax.host.rounded_products import is_exact, products
from dimp_jax.models.dimp import fold
from dimp_jax.studies import problems
from dimp_jax.studies.convergence.lanczos import lanczos
from tests.support import small_tracker
from tests.support.study_problems import random_problem

pytestmark = pytest.mark.usefixtures("small_backbone")


def assert_exact(function, *args):
    found = products(function, *args)
    assert found and all(map(is_exact, found))


def test_quality_and_spectrum():
    problem = random_problem()
    assert_exact(lambda filt: problems.quality(filt, problem), problem.initial)
    assert_exact(lambda start: lanczos(lambda v: 2 * v, start, 4), problem.initial)


def test_initial_filter():
    """The network's own products are exact here, too, for they are not what is looked at."""
    model = dataclasses.replace(small_tracker.MODEL, matmul_precision="highest")
    params = fold(model, small_tracker.variables())["params"]
    extractor = problems.Extractor(model, params)
    problem = random_problem(channels=model.clf_channels)
    assert_exact(extractor.initial_filter, problem.feat, problem.box_xywh, problem.weight)
    crops = jax.ShapeDtypeStruct((2, 64, 64, 3), "float32")
    assert_exact(extractor.features, crops)
