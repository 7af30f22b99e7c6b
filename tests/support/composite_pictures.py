"""Small cut-outs and backgrounds for the tests of the composite source."""

import numpy as np

from dimp_jax.media.opencv import cv2


def ellipse(height, width, color, *, pad_px=6, edge_color=None):
    """RGBA: a coloured ellipse with stripes; `edge_color` is its outermost ring of 1 px."""
    alpha = np.zeros((height + 2 * pad_px, width + 2 * pad_px), np.uint8)
    center = (pad_px + width // 2, pad_px + height // 2)
    cv2.ellipse(alpha, center, (width // 2, height // 2), 0, 0, 360, 255, cv2.FILLED, cv2.LINE_AA)
    rgb = np.empty((*alpha.shape, 3), np.uint8)
    rgb[:] = color
    rgb[::4] = np.asarray(color) // 2
    if edge_color is not None:
        rgb[cv2.erode((alpha > 240).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0] = edge_color
    return np.dstack([rgb, alpha])


def write(path, image):
    code = cv2.COLOR_RGBA2BGRA if image.shape[-1] == 4 else cv2.COLOR_RGB2BGR
    assert cv2.imwrite(str(path), cv2.cvtColor(image, code))


def make_folders(directory):
    """directory/cutouts with five objects, directory/backgrounds with two pictures."""
    cutouts, backgrounds = directory / "cutouts", directory / "backgrounds"
    cutouts.mkdir(parents=True)
    backgrounds.mkdir()
    shapes = [(60, 80), (90, 40), (50, 50), (44, 88), (70, 60)]
    colors = [(220, 40, 40), (40, 200, 60), (60, 60, 230), (230, 210, 40), (200, 60, 210)]
    for index, (shape, color) in enumerate(zip(shapes, colors, strict=True)):
        write(cutouts / f"object-{index}.png", ellipse(*shape, color))
    rng = np.random.default_rng(0)
    for index in range(2):
        small = rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)
        write(backgrounds / f"ground-{index}.jpg", cv2.resize(small, (320, 240)))
    return cutouts, backgrounds
