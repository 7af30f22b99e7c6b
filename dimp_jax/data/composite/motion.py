"""Smooth random motion of a whole sequence as arrays, and matrices made of it. numpy alone."""

import numpy as np

_SPLINE_STD = 0.69  # of a cubic B-spline over knots of unit variance, mean over the phase


def smooth_noise(rng, length, period_frames, channels=1):
    """Smooth noise with zero mean and about unit standard deviation: a random cubic B-spline.

    Args:
      period_frames: distance of the knots; a full swing takes two to four of them.
      channels: independent curves.

    Returns:
      [length, channels] float64.
    """
    position = np.arange(length) / period_frames + rng.random()
    index = position.astype(int)
    f = position - index
    knots = rng.standard_normal((index[-1] + 4, channels))
    square, cube, rest = f * f, f * f * f, 1 - f
    basis = np.empty((length, 4))
    basis[:, 0] = rest * rest * rest
    basis[:, 1] = 3 * cube - 6 * square + 4
    basis[:, 2] = 3 * (f + square - cube) + 1
    basis[:, 3] = cube
    return np.einsum("lk,lkc->lc", basis, knots[index[:, None] + np.arange(4)]) / (6 * _SPLINE_STD)


def wander(rng, length, *, speed, period_frames, burst_probability=0.0, turn_probability=0.0):
    """A path that drifts and curves, now and then with a burst of speed or a sharp turn.

    Args:
      speed: typical step between frames, in the unit of the result.
      period_frames: how slowly the velocity changes.
      burst_probability: chance of some frames that are three to six times as fast.
      turn_probability: chance of one abrupt change of direction by 90 to 270 degrees.

    Returns:
      [length, 2] float64, 0 at the first frame.
    """
    angle = rng.uniform(0, 2 * np.pi)
    drift = np.array((np.cos(angle), 0.6 * np.sin(angle)))  # things move sideways more than up
    velocity = speed * (0.7 * drift + 0.7 * smooth_noise(rng, length, period_frames, 2))
    if rng.random() < turn_probability:
        at = rng.integers(length)
        velocity[at:] = velocity[at:] @ rotation(rng.uniform(0.5, 1.5) * np.pi).T
    if rng.random() < burst_probability:
        at = rng.integers(length)
        velocity[at : at + rng.integers(3, 9)] *= rng.uniform(3, 6)
    path = np.cumsum(velocity, axis=0)
    return path - path[0]


def bounce(path, low, high):
    """Folds a path into [low, high] by reflection; where there is no room it rests in the middle.

    Args:
      path: [L, D].
      low, high: broadcastable to `path`.

    Returns:
      [L, D] float64.
    """
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    room = np.maximum(high - low, 1e-9)
    folded = np.abs((path - low + room) % (2 * room) - room) + low
    return np.where(high > low, folded, (low + high) / 2)


def rotation(angle):
    """[..., 2, 2] rotation matrices of angles in radians (clockwise in an image)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def affine(linear, center_xy):
    """Maps of the origin to `center_xy`: [..., 2, 2] and [..., 2] become [..., 2, 3]."""
    return np.concatenate([linear, np.asarray(center_xy)[..., None]], axis=-1)


def apply_affine(matrix, points_xy):
    """Points [..., P, 2] under the maps `matrix` [..., 2, 3]."""
    return points_xy @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def limits(points_xy):
    """The smallest and largest of points [L, P, 2] each: two of [L, 2]."""
    along = np.ascontiguousarray(np.swapaxes(points_xy, 1, 2))  # numpy is slow along a middle axis
    return along.min(axis=-1), along.max(axis=-1)


def invert_affine(matrix):
    """The inverse maps of `matrix` [..., 2, 3]."""
    inverse = np.linalg.inv(matrix[..., :2])
    return affine(inverse, -(inverse @ matrix[..., 2:])[..., 0])
