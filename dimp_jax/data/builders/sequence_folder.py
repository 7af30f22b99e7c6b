"""Anyone's own videos: `img/*.jpg|png`, `groundtruth.txt` and, for some, `mask/*.png`."""

from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.folders import listed, name_of
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import frame_paths, image_paths, is_sequence, natural_key

LAYOUT = "a sequence (img/*.jpg or *.png, groundtruth.txt), or a folder of them"


class SequenceFolder(TrackingBuilder):
    """Every subfolder of the source is a sequence, or the source itself is one.

    The k-th image belongs to the k-th line; a mask has the name of its image.
    """

    IS_VIDEO = True

    @staticmethod
    def list_footage(request):
        source = text.require_folder(request.source, LAYOUT)
        folders = [source] if is_sequence(source) else sorted(listed(source), key=natural_key)
        folders = [folder for folder in folders if is_sequence(folder)]
        if not folders:
            raise InputError(f"{source}: no sequences in it: expected {LAYOUT}")
        return [Footage(name_of(f), f, files.count_images(f / "img")) for f in folders], []

    @staticmethod
    def read_footage(footage):
        boxes, present, problems = files.read_boxes(footage.path / "groundtruth.txt")
        paths = frame_paths(footage.path / "img")
        if len(paths) != len(boxes):
            raise InputError(
                f"{len(boxes)} boxes in groundtruth.txt for {len(paths)} images in img: which "
                "belongs to which is not known"
            )
        masks = {path.stem: path for path in image_paths(footage.path / "mask")}

        def mask(frame):
            path = masks.get(paths[frame].stem)
            return path.read_bytes() if path else b""

        strangers = masks.keys() - {path.stem for path in paths}
        if strangers:
            why = f"{len(strangers)} masks without an image, {min(strangers)} among them"
            problems.append(Problem("mask", str(footage.path / "mask"), why, len(strangers)))
        target = Target(footage.name, boxes, present, mask if masks else None)
        return Annotated(paths, [target], problems)
