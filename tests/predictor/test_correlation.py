"""The correlation as matmul and shifted sums: against XLA's convolution, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dimp_jax.predictor import correlation
from dimp_jax.predictor.correlation import score_size

correlate, correlate_conv = jax.jit(correlation.correlate), jax.jit(correlation.correlate_conv)


def normal(seed, shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("size_hw", [(5, 8), (7, 4), (1, 6)])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_equals_convolution(k, size_hw):
    filt, feat = normal(k, (k, k, 3)), normal(9, (2, *size_hw, 3))
    scores = correlate(filt, feat)
    assert scores.shape == (2, *(score_size(s, k) for s in size_hw))
    np.testing.assert_allclose(scores, correlate_conv(filt, feat), rtol=1e-5, atol=1e-5)


def test_score_size():
    assert [score_size(18, k) for k in (1, 2, 3, 4, 5)] == [18, 19, 18, 19, 18]


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_delta_filter_shifts(k):
    """A filter of one tap (a, b) copies the channel, moved by the tap's offset from K // 2."""
    feat = np.asarray(normal(1, (1, 6, 7, 2)))
    for a, b in ((0, 0), (k // 2, k // 2), (k - 1, 0)):
        filt = np.zeros((k, k, 2), np.float32)
        filt[a, b, 1] = 1
        scores = np.asarray(correlate(filt, feat))[0]
        for u in range(scores.shape[0]):
            for v in range(scores.shape[1]):
                y, x = u + a - k // 2, v + b - k // 2
                inside = 0 <= y < 6 and 0 <= x < 7
                assert scores[u, v] == (feat[0, y, x, 1] if inside else 0.0)


@pytest.mark.parametrize("k", [3, 4])
def test_filter_equal_to_a_patch_peaks_there(k):
    feat = normal(2, (1, 10, 12, 16))
    filt = feat[0, 4 : 4 + k, 6 : 6 + k]
    scores = correlate(filt, feat)[0]
    assert divmod(int(scores.argmax()), scores.shape[1]) == (4 + k // 2, 6 + k // 2)
    np.testing.assert_allclose(scores.max(), jnp.vdot(filt, filt), rtol=1e-5)


def test_bilinear():
    """Linear in either argument: the adjoint identity <s(f, x), y> = <f, s^T y>."""
    filt, feat, out = normal(1, (4, 4, 3)), normal(2, (2, 5, 6, 3)), normal(3, (2, 6, 7))
    for index in (0, 1):
        fn = (lambda f: correlate(f, feat)) if index == 0 else (lambda x: correlate(filt, x))
        arg = (filt, feat)[index]
        scores, transpose = jax.vjp(fn, arg)
        left, right = jnp.vdot(scores, out), jnp.vdot(arg, transpose(out)[0])
        np.testing.assert_allclose(left, right, rtol=1e-5)


def test_derivatives():
    with jax.enable_x64():
        filt, feat = (normal(i, s).astype(float) for i, s in ((1, (2, 2, 2)), (2, (1, 3, 4, 2))))
        check_grads(correlate, (filt, feat), order=2, modes=("rev",), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("filt", "feat", "match"),
    [
        ((4, 3, 2), (1, 5, 5, 2), r"filt: expected \[K K C\] with K=4, got shape \(4, 3, 2\)"),
        ((4, 4, 2), (1, 5, 5, 3), r"feat: expected \[N H W C\] with .*C=2"),
        ((4, 4, 2), (5, 5, 2), r"feat: expected \[N H W C\], got shape"),
    ],
)
def test_wrong_shapes(filt, feat, match):
    with pytest.raises(ValueError, match=match):
        correlate(jnp.zeros(filt), jnp.zeros(feat))
