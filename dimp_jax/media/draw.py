"""Annotated frames: predicted box in the colour of its verdict, ground truth, score, frame rate."""

import math

import numpy as np

from dimp_jax.media.opencv import cv2

FRACTION_BITS = 4  # of a pixel, in exact drawing
MIN_WIDTH_PX = 480  # smaller frames are enlarged, so that the text fits
GROUNDTRUTH_RGB = (255, 255, 255)
VERDICT_RGB = {
    "NORMAL": (40, 220, 60),
    "HARD_NEGATIVE": (255, 150, 20),
    "UNCERTAIN": (255, 235, 40),
    "NOT_FOUND": (255, 60, 50),
}
GIVEN = "GIVEN"  # the first frame, whose box is not predicted
GIVEN_RGB = (90, 200, 255)
# Of several targets, in their order; told apart by colour-blind people, too (Okabe and Ito).
OBJECT_RGB = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167))


def annotate(image, box, *, verdict, score, frame, groundtruth=None, fps=None) -> np.ndarray:
    """A copy of the frame with the boxes and two short texts drawn on it.

    Args:
      image: uint8 RGB [H, W, 3]; enlarged by a whole factor if narrower than 480 px.
      box: [4] predicted x, y, w, h in pixels of `image`.
      verdict: a verdict's name, or `GIVEN`. score: the highest one, or None.
      frame: its index. groundtruth: [4] or None; NaN is not drawn.
    """
    canvas, scale, unit = _enlarged(image)
    color = GIVEN_RGB if verdict == GIVEN else VERDICT_RGB.get(verdict, GIVEN_RGB)
    # The prediction is wider and drawn first, so that it stays visible around the ground truth.
    rectangle(canvas, np.asarray(box) * scale, color, 2 * unit + 1)
    if groundtruth is not None:
        rectangle(canvas, np.asarray(groundtruth) * scale, GROUNDTRUTH_RGB, unit)

    texts = [f"#{frame}", verdict.lower().replace("_", " ")]
    if score is not None:
        texts.append(f"score {score:.2f}")
    if fps is not None:
        texts.append(f"{fps:.1f} fps")
    _label(canvas, "  ".join(texts), color)
    return canvas


def annotate_objects(image, boxes, *, verdicts, frame) -> np.ndarray:
    """A copy of the frame with the boxes of several targets, each in a colour of its own.

    Args:
      image: uint8 RGB [H, W, 3]; enlarged as in `annotate`.
      boxes: [K, 4] x, y, w, h in pixels of `image`.
      verdicts: K names of verdicts; a target that is not found has a thin line.
      frame: index of the frame.
    """
    canvas, scale, unit = _enlarged(image)
    for number, (box, verdict) in enumerate(zip(boxes, verdicts, strict=True)):
        color = OBJECT_RGB[number % len(OBJECT_RGB)]
        thickness = unit if verdict == "NOT_FOUND" else 2 * unit + 1
        rectangle(canvas, np.asarray(box) * scale, color, thickness)
    _label(canvas, f"#{frame}  {len(boxes)} targets", GIVEN_RGB)
    return canvas


def heat_map(crop, scores, stride_px: float) -> np.ndarray:
    """A copy of a crop with a score map over it: nothing at 0, opaque colours at 1.

    Args:
      crop: uint8 RGB [P, P, 3]. scores: [S, S]; its middle is that of the crop.
      stride_px: crop pixels between two scores.
    """
    side = crop.shape[0]
    # From the middle of a pixel of the crop to the score there.
    scale, middle = 1 / stride_px, (scores.shape[0] - 1) / 2
    offset = middle - scale * (side - 1) / 2
    to_cell = np.array([[scale, 0, offset], [0, scale, offset]])
    dense = cv2.warpAffine(
        np.asarray(scores, np.float32),
        to_cell,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    share = np.clip(dense, 0, 1)[..., None]
    colors = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.rint(crop * (1 - 0.8 * share) + colors * (0.8 * share)).astype(np.uint8)


def _enlarged(image):
    """A copy that is wide enough for text, its scale, and the width of a thin line."""
    scale = max(1, math.ceil(MIN_WIDTH_PX / image.shape[1]))
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return canvas, scale, max(1, round(min(canvas.shape[:2]) / 360))


def rectangle(canvas, box, rgb, thickness, *, exact=False):
    """Draws a box [4] on a uint8 RGB image, rounded to pixels unless `exact`; not one with NaN."""
    if not np.isfinite(box).all():
        return
    x, y, width, height = box
    # OpenCV's corners are inclusive pixels; far outside values would overflow its integers.
    shift = FRACTION_BITS if exact else 0
    corners = np.clip([x, y, x + width - 1, y + height - 1], -10_000, 30_000) * (1 << shift)
    corners = corners.round().astype(int)
    corner, opposite = corners[:2].tolist(), corners[2:].tolist()
    cv2.rectangle(canvas, corner, opposite, rgb, thickness, cv2.LINE_AA, shift)


def _label(canvas, text, color):
    """Coloured text on a dark strip at the lower left, a twentieth of the frame high."""
    height, width = canvas.shape[:2]
    font, size = cv2.FONT_HERSHEY_SIMPLEX, max(height / 20, 14) / 28
    thickness = max(1, round(size * 1.5))
    (text_width, text_height), below = cv2.getTextSize(text, font, size, thickness)
    if text_width > 0.96 * width:
        size *= 0.96 * width / text_width
        (text_width, text_height), below = cv2.getTextSize(text, font, size, thickness)
    pad = max(3, text_height // 3)
    top = height - text_height - below - 2 * pad
    strip = canvas[max(top, 0) :, : text_width + 2 * pad]
    strip[:] = strip // 4
    cv2.putText(
        canvas, text, (pad, height - below - pad), font, size, color, thickness, cv2.LINE_AA
    )
