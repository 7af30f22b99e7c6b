"""LaSOT: `<class>/<class>-<number>/{img/*.jpg, groundtruth.txt, full_occlusion.txt, ...}`."""

import re

from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Footage, TrackingBuilder
from dimp_jax.media import text
from dimp_jax.media.folders import listed
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
        source = text.require_folder(request.source, LAYOUT)
        folders = [
            folder
            for family in listed(source)
            if family.is_dir()
            for folder in sorted(listed(family, f"{family.name}-*"), key=natural_key)
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
        shown = {
            f"{name} flags": text.read_flags(folder / f"{name}.txt") == 0
            for name in ("full_occlusion", "out_of_view")
        }
        return files.flagged_video(footage, folder / "img", shown)


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
