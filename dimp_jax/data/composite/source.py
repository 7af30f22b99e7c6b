"""The source "composite": cut-out objects moved over real backgrounds, with exact boxes.

It gives what videos lack: boxes without error, clutter, occlusion, changes of scale, twins of the
target. Sequence i is a function of i, the seed, the config and the pictures that were found.
"""

from pathlib import Path

import numpy as np

from dimp_jax.data.composite import objects as composite_objects
from dimp_jax.data.composite import pictures as composite_pictures
from dimp_jax.data.composite import render, sprites, stock
from dimp_jax.data.composite import scene as composite_scene
from dimp_jax.data.composite.object_file import ObjectFile
from dimp_jax.data.composite.stock import Origin
from dimp_jax.data.picture_cache import BoundedCache
from dimp_jax.data.source import check_index
from dimp_jax.media.images import InputError, read_image

_SEED = 20_190_416
_NOISE_IMAGES = 4
# Bytes of decoded pictures that are kept in a process: backgrounds, pictures of a scene.
_BACKGROUND_BYTES, _SCENE_BYTES = 64 << 20, 48 << 20
_PLANS = 64


def open_source(config, data_dir, *, min_box_px=2.0, seed=0) -> "CompositeSource":
    """Looks at all objects and backgrounds, once.

    Args:
      config: a `config.training.CompositeConfig`.
      data_dir: folder of the built data sets, or None where none is named and both folders are.
      min_box_px: target boxes with a shorter side count as not visible.
      seed: another one gives other sequences of the same pictures.

    Raises:
      InputError: no pictures: a folder is missing or empty, or nothing in it can be used.
      ValueError: a size or count that makes no sequence.
    """
    if config.num_sequences < 1 or config.length < 1 or min(config.size_hw_px) < 64:
        raise ValueError(
            f"composite: num_sequences={config.num_sequences}, length={config.length}, "
            f"size_hw_px={config.size_hw_px}: expected at least 1, 1 and 64 x 64 px"
        )
    names = tuple(dict.fromkeys((*config.objects_from, *config.videos_from)))
    data_sets = tuple(_open_data_set(data_dir, name, min_box_px) for name in names)

    object_file = ObjectFile()
    object_groups, background_groups = [], []
    folder = _folder(config.cutouts_dir, data_dir, "cutouts", bool(config.objects_from))
    if folder is not None:
        paths = stock.list_images(folder, "images with alpha")
        found = composite_objects.catalogue(
            [Origin(p) for p in paths], data_sets, folder, object_file
        )
        object_groups.append(found)
    for name in config.objects_from:
        index = names.index(name)
        origins = composite_objects.object_origins(index, data_sets[index])
        object_groups.append(composite_objects.catalogue(origins, data_sets, name, object_file))
    folder = _folder(config.backgrounds_dir, data_dir, "backgrounds", bool(config.videos_from))
    if folder is not None:
        paths = stock.list_images(folder, "images")
        found = stock.file_backgrounds(paths, config.size_hw_px, folder)
        background_groups.append(found)
    for name in config.videos_from:
        index = names.index(name)
        found = stock.data_set_backgrounds(index, data_sets[index], config.size_hw_px, name)
        background_groups.append(found)
    return CompositeSource(
        config,
        seed=seed,
        min_box_px=min_box_px,
        data_sets=data_sets,
        objects=stock.stock(object_groups),
        object_file=object_file,
        backgrounds=stock.stock(background_groups),
    )


def _folder(given, data_dir, kind, optional):
    """The folder `kind` to use; None where it is the default one, not there, and not needed."""
    if given is not None:
        return given
    if data_dir is None:
        if optional:
            return None
        raise InputError(
            f"composite: no folder of {kind}: set training.data.composite.{kind}_dir, or the "
            f"folder of data sets, where they are looked for in composite/{kind}"
        )
    default = Path(data_dir) / "composite" / kind
    return None if optional and not default.is_dir() else str(default)


def _open_data_set(data_dir, name, min_box_px):
    from dimp_jax.data import records  # brings the reader of records, which folders do not need

    if data_dir is None:
        raise InputError(f"composite: data set {name!r} is named, but no folder of data sets is")
    data_set, separator, split = name.partition(":")
    if not data_set or (separator and not split):
        raise InputError(f"composite: data set {name!r}: expected NAME or NAME:SPLIT")
    return records.open_source(data_dir, data_set, split or "train", min_box_px=min_box_px)


class CompositeSource:
    """Composed sequences, drawn when they are read; see `open_source`.

    Where there are several folders or data sets, each is used in proportion to the square root of
    its number of pictures. A process keeps up to about 130 MB of decoded pictures; those of the
    objects lie in a file that all processes share.
    """

    name = "composite"
    is_video = True

    def __init__(self, config, *, seed, min_box_px, data_sets, objects, object_file, backgrounds):
        self.config = config
        self.seed = seed
        self.min_box_px = min_box_px
        self.objects = objects
        self.backgrounds = backgrounds
        self._data_sets = data_sets
        self._object_file = object_file
        self._plans = BoundedCache(_PLANS, in_bytes=False)
        self._drawn_from = BoundedCache(_SCENE_BYTES)
        self._images = BoundedCache(_BACKGROUND_BYTES)
        self._noise = BoundedCache(_NOISE_IMAGES, in_bytes=False)

    def __len__(self):
        return self.config.num_sequences

    def visible(self, sequence):
        """[L] bool: enough of the target is in the frame and not covered; draws nothing.

        Computed from outlines, before they are bent: good to about 0.1 of the target's area.
        """
        return self.scene(sequence).visible.copy()

    def read(self, sequence, frame_ids):
        """Draws frames; see `source.Source.read`.

        Raises:
          IndexError: a sequence or frame that does not exist.
          BrokenFrame, InputError: a picture that could be read before no longer can.
        """
        whole = self.config.size_hw_px[::-1]
        frames = self.sketch(sequence, frame_ids)
        return [frame._replace(image=frame.image.within((0, 0), whole)) for frame in frames]

    def sketch(self, sequence, frame_ids):
        """As `read`, but images are drawn where they are looked at; see `source.Source`."""
        scene, size_hw = self.scene(sequence), self.config.size_hw_px
        pictures = self.pictures(sequence)
        frames = []
        for t in frame_ids:
            t = check_index("composite: frame", t, self.config.length)
            canvas = self._canvas(scene, t) if pictures.canvas is None else pictures.canvas
            noise = self._noise.get(
                t % _NOISE_IMAGES,
                lambda k=t % _NOISE_IMAGES: composite_pictures.noise_image(size_hw, (_SEED, k)),
            )
            frames.append(render.sketch(scene, pictures, canvas, t, size_hw, noise))
        return frames

    def scene(self, sequence):
        """The plan of a sequence, a `scene.Scene`."""
        sequence = check_index("composite: sequence", sequence, len(self))

        def plan():
            rng = np.random.default_rng((_SEED, self.seed, sequence))
            return composite_scene.plan(
                rng, self.objects, self.backgrounds, self.config, self.min_box_px
            )

        return self._plans.get(sequence, plan)

    def pictures(self, sequence):
        """What the sequence is drawn from, `composite_pictures.Pictures`."""
        scene = self.scene(sequence)
        return self._drawn_from.get(int(sequence), lambda: self._pictures(scene))

    def _pictures(self, scene):
        canvas = self._canvas(scene, 0)
        canvas_gray = composite_pictures.gray_statistics(canvas)
        made = []
        for layer in scene.layers:
            if layer.entry < 0:
                made.append(composite_pictures.piece_sprite(canvas, layer))
                continue
            entry = self.objects.entries[layer.entry]
            rgba = self._object_file.read(entry.place, entry.size_hw)
            made.append(composite_pictures.object_sprite(rgba, entry, layer, canvas_gray))
        moving = self._is_moving(self.backgrounds.entries[scene.background].origin)
        part = None
        if scene.part_xyxy is not None:
            part = sprites.crop_sprite(made[scene.target], scene.part_xyxy)
        return composite_pictures.Pictures(None if moving else canvas, tuple(made), part)

    def _is_moving(self, origin):
        return origin.path is None and self._data_sets[origin.data_set].is_video

    def _canvas(self, scene, t):
        """[h, w, 4] uint8 background of frame t before the camera's motion."""
        origin = self.backgrounds.entries[scene.background].origin
        if origin.path is not None:
            image = self._images.get(origin, lambda: read_image(origin.path))
        else:
            source = self._data_sets[origin.data_set]
            length = len(source.visible(origin.sequence))
            # To and fro, from a random frame, where it is shorter than this sequence.
            at = (scene.seed + t) % max(2 * length - 2, 1)
            (frame,) = source.read(origin.sequence, [min(at, 2 * length - 2 - at)])
            image = frame.image
        return composite_pictures.cover(image, scene.canvas_wh, scene.seed)
