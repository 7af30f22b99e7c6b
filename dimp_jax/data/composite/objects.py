"""Objects of the composite source: cut out, cleaned, measured.

Objects are images with alpha, or what a built data set's mask shows. They are made once, when the
source is opened: their pictures are kept in a file, their outlines and colours in memory.
"""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from dimp_jax.data.composite.stock import ObjectEntry, Origin
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.images import InputError, is_complete
from dimp_jax.media.opencv import cv2

log = logging.getLogger(__name__)

MAX_SIDE_PX = 192  # objects are kept at most this large
_FRAMES_PER_VIDEO = 4  # objects cut out of one video, spread over its frames
_MAX_OBJECTS = 4000  # of one data set, spread over its sequences
_OUTLINE_POINTS = 40


class Unusable(Exception):
    """Why an image makes no object."""


def cut_out(rgba):
    """The one object of an image with alpha: trimmed, in one piece, with colours that reach out.

    Edge pixels of a cut-out hold colour of its old background, by which a network could tell what
    is pasted; their colours are replaced by those of the inside next to them.

    Args:
      rgba: [h, w, 4] uint8, straight alpha.

    Returns:
      [h', w', 4] uint8; its sides are the hull of alpha > 0.5, at most `MAX_SIDE_PX`.

    Raises:
      Unusable: says why: too small, too thin, without background, transparent, in pieces.
    """
    alpha = rgba[..., 3]
    if alpha.min() > 127:
        raise Unusable("no background in its alpha")
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 127).astype(np.uint8))
    if count < 2:
        raise Unusable("nothing in its alpha")
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = int(areas.argmax()) + 1
    if areas.max() < 0.8 * areas.sum():
        raise Unusable("in several pieces")
    x, y, width, height = (int(v) for v in stats[largest, :4])
    if min(width, height) < 10 or max(width, height) < 24:
        raise Unusable(f"too small: {width} x {height} px")
    if max(width, height) > 6 * min(width, height):
        raise Unusable(f"too long: {width} x {height} px")
    window = np.s_[y : y + height, x : x + width]
    own = cv2.dilate((labels[window] == largest).astype(np.uint8), np.ones((3, 3), np.uint8))
    alpha = alpha[window] * own
    rgb = rgba[window][..., :3]

    filled = float((alpha > 127).mean())
    if filled < 0.15:
        raise Unusable(f"fills little of its box: {filled:.0%}")
    if np.mean((alpha > 12) & (alpha < 243)) > 0.4:
        raise Unusable("mostly transparent")
    scale = MAX_SIDE_PX / max(width, height)
    if scale < 1:
        size_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
        alpha = cv2.resize(alpha, size_wh, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(np.ascontiguousarray(rgb), size_wh, interpolation=cv2.INTER_AREA)
    inside = cv2.copyMakeBorder((alpha > 245).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    thickness = 2 * float(depth.max()) / float(np.sqrt(alpha.size))
    if thickness < 0.15:
        raise Unusable(f"thin: {thickness:.2f} of its box")
    return np.dstack([_reach_out(rgb, alpha, depth > 1.5), alpha])


def _reach_out(rgb, alpha, core):
    """`rgb` whose visible pixels outside `core` have the colour of the nearest pixel of it."""
    edge = np.flatnonzero(~core & (alpha > 0))
    inside = np.flatnonzero(core)
    if not len(inside) or not len(edge):
        return rgb
    _, labels = cv2.distanceTransformWithLabels(
        (~core).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.ravel()
    pixel_of_label = np.zeros(len(inside) + 1, np.int64)
    pixel_of_label[labels[inside]] = inside
    colors = rgb.reshape(-1, 3).copy()
    colors[edge] = colors[pixel_of_label[labels[edge]]]
    return colors.reshape(rgb.shape)


def mask_rgba(image, mask):
    """An image with a mask as alpha, its stairs smoothed.

    Raises:
      Unusable: a side below 24 px, or much of the object cut off by the border of the image.
    """
    mask = mask.astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    if min(width, height) < 24:
        raise Unusable(f"too small: {width} x {height} px")
    border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    if border > 0.15 * (width + height):
        raise Unusable("cut off by the border of the image")
    left, top = max(x - 2, 0), max(y - 2, 0)
    window = np.s_[top : y + height + 2, left : x + width + 2]
    alpha = cv2.GaussianBlur(mask[window] * np.uint8(255), (0, 0), 1.0)
    return np.dstack([image[window], alpha])


def load_object(origin: Origin, data_sets):
    """Decodes an object of a file or of an opened data set: its rgba as of `cut_out`.

    Raises:
      Unusable, InputError, BrokenFrame: it cannot be used; the message says why.
    """
    if origin.path is not None:
        return cut_out(_read_rgba(origin.path))
    source = data_sets[origin.data_set]
    mask = source.mask(origin.sequence, origin.frame)
    if mask is None:
        raise Unusable("no mask")
    (frame,) = source.read(origin.sequence, [origin.frame])
    return cut_out(mask_rgba(frame.image, mask))


def describe(rgba, origin):
    """The `ObjectEntry` of an object's image."""
    opaque = (rgba[..., 3] > 127).astype(np.uint8)
    contours, _ = cv2.findContours(opaque, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len)[:, 0].astype(np.float32)
    points = contour[np.linspace(0, len(contour) - 1, _OUTLINE_POINTS).round().astype(int)]
    height, width = opaque.shape
    unit_px = float(np.sqrt(height * width))
    outline = (points - np.array(((width - 1) / 2, (height - 1) / 2), np.float32)) / unit_px
    colors = rgba[..., :3][opaque.astype(bool)].astype(np.float32)
    return ObjectEntry(
        origin=origin,
        outline=outline.astype(np.float32),
        color=colors.mean(axis=0),
        gray_std=float(colors.mean(axis=1).std()),
        size_hw=(height, width),
    )


def object_origins(data_set, source):
    """`Origin`s of the objects of a built data set: some frames of each of its sequences."""
    count = 1 if not source.is_video else _FRAMES_PER_VIDEO
    most = max(_MAX_OBJECTS // count, 1)
    step = max(len(source) / most, 1.0)
    origins = []
    for sequence in np.arange(0, len(source), step).astype(int):
        visible = np.flatnonzero(source.visible(int(sequence)))
        if len(visible):
            chosen = visible[np.linspace(0, len(visible) - 1, count + 2).astype(int)[1:-1]]
            for frame in np.unique(chosen):
                origins.append(Origin(None, data_set, int(sequence), int(frame)))
    return origins


def catalogue(origins, data_sets, what, object_file):
    """Looks at all objects, and keeps the usable ones: [ObjectEntry], in their order.

    Their pictures are appended to `object_file`. What cannot be decoded is named in a warning; what
    makes no good object is counted.

    Raises:
      InputError: nothing can be used; says why.
    """
    entries, reasons = [], Counter()
    for origin in origins:
        try:
            rgba = load_object(origin, data_sets)
            entry = describe(rgba, origin)
            entries.append(entry._replace(place=object_file.append(rgba)))
        except (InputError, BrokenFrame) as error:
            log.warning("left out: %s", error)
            reasons["broken"] += 1
        except Unusable as error:
            log.debug("left out: %s: %s", origin, error)
            reasons[str(error).partition(":")[0]] += 1
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "it is empty"
    if not entries:
        raise InputError(f"{what}: none of its {len(origins)} pictures makes an object ({why})")
    log.info("%s: %d objects; left out: %s", what, len(entries), why if reasons else "none")
    return entries


def _read_rgba(path):
    data = Path(path).read_bytes()
    image = None
    if data and is_complete(data):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path}: cannot be decoded as an image ({len(data)} bytes)")
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim != 3 or image.shape[2] != 4:
        raise Unusable("no alpha channel")
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
