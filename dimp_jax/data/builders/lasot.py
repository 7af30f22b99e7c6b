"""LaSOT: `<class>/<class>-<number>/{img/*.jpg, groundtruth.txt, full_occlusion.txt, ...}`."""

import re

from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import natural_key

LAYOUT = "the folder of LaSOT with airplane/airplane-1/, airplane/airplane-2/, ..."


class Lasot(TrackingBuilder):
    """Split "train" is all that is not in the list of test sequences (protocol II), "test" is it.

    The list is `testing_set.txt`, one name a line; the LaSOT evaluation toolkit has it.
    """

    IS_VIDEO = True

    @staticmethod
    def list_footage(request):
        if request.split not in ("train", "test"):
            raise InputError(f"--split {request.split}: expected train or test")
        source = files.require_folder(request.source, LAYOUT)
        folders = [
            folder
            for family in sorted(source.iterdir())
            if family.is_dir()
            for folder in sorted(family.glob(f"{family.name}-*"), key=natural_key)
            if (folder / "img").is_dir() or (folder / "groundtruth.txt").is_file()
        ]
        if not folders:
            raise InputError(f"{source}: no sequences in it: expected {LAYOUT}")
        test = _test_names(request, source)
        chosen = [f for f in folders if (f.name in test) == (request.split == "test")]
        if not chosen:
            raise InputError(
                f"{source}: none of its {len(folders)} sequences is in the {request.split} split "
                f"by the list of {len(test)} test sequences"
            )
        return [Footage(f.name, f, files.count_images(f / "img")) for f in chosen], []

    @staticmethod
    def read_footage(footage):
        """Visible: neither fully occluded nor out of view, and a box with a size."""
        folder = footage.path
        boxes, present, problems = files.read_boxes(folder / "groundtruth.txt")
        occluded = files.read_flags(folder / "full_occlusion.txt")
        out_of_view = files.read_flags(folder / "out_of_view.txt")
        lengths = {
            "boxes": len(boxes),
            "full_occlusion flags": len(occluded),
            "out_of_view flags": len(out_of_view),
        }
        count, differ = files.agreed_length(folder, lengths)
        present = present[:count] & (occluded[:count] == 0) & (out_of_view[:count] == 0)
        paths, extra = files.numbered_images(folder / "img", count, "{:08d}.jpg", 1)
        target = Target(footage.name, boxes[:count], present)
        return Annotated(paths, [target], problems + differ + extra)


def _test_names(request, source):
    path = request.split_file or source / "testing_set.txt"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: the names of the test sequences are needed, one a line "
            "(testing_set.txt of the LaSOT evaluation toolkit), there or as --split-file FILE"
        )
    names = files.read_names(path, "names of sequences")
    strange = [name for name in names if not re.fullmatch(r"[\w ]+-\d+", name)]
    if strange:
        raise InputError(f"{path}: {strange[0][:60]!r}: expected names such as airplane-1")
    return frozenset(names)
