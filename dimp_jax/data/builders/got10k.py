"""GOT-10k: `{train,val}/list.txt` and a folder for each sequence."""

from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Footage, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.images import InputError

LAYOUT = "the folder of GOT-10k with train/list.txt, train/GOT-10k_Train_000001/, ..., val/, ..."
SPLITS = {"train": "train", "val": "val", "vottrain": "train"}


class Got10k(TrackingBuilder):
    """Splits "train" and "val"; "vottrain" is train without the names of a list (VOT's videos)."""

    IS_VIDEO = True

    @staticmethod
    def list_footage(request):
        if request.split not in SPLITS:
            why = " (test has no boxes)" if request.split == "test" else ""
            raise InputError(f"--split {request.split}: expected one of {', '.join(SPLITS)}{why}")
        if request.split == "vottrain" and request.exclude is None:
            raise InputError(
                "--split vottrain is train without the sequences that are in VOT: give the list of "
                "their names (GOT-10k's authors publish it) as --exclude FILE"
            )
        source = text.require_folder(request.source, LAYOUT)
        folder = source / SPLITS[request.split]
        if not (folder / "list.txt").is_file():
            raise InputError(f"{folder / 'list.txt'}: no such file: expected {LAYOUT}")
        names = files.read_names(folder / "list.txt", "names of sequences")
        missing = [name for name in names if not (folder / name).is_dir()]
        if len(missing) == len(names):
            raise InputError(f"{folder}: none of the {len(names)} sequences of list.txt is there")
        problems = [
            Problem("other", str(folder / name), "no such folder: left out") for name in missing
        ]
        footage = [
            Footage(name, folder / name, files.count_images(folder / name))
            for name in names
            if name not in set(missing)
        ]
        return footage, problems

    @staticmethod
    def names_to_exclude(request, footage):
        """All of list.txt: not everyone has all sequences."""
        del footage
        return set(files.read_names(request.source / SPLITS[request.split] / "list.txt"))

    @staticmethod
    def read_footage(footage):
        """Visible: not absent, some of it not covered, and a box with a size."""
        folder = footage.path
        shown = {
            "absence flags": text.read_flags(folder / "absence.label") == 0,
            "covers": text.read_flags(folder / "cover.label") > 0,  # eighths that are visible
        }
        annotated = files.flagged_video(footage, folder, shown)
        try:
            size_wh = text.read_got10k_size_wh(folder / "meta_info.ini")
        except InputError:  # nothing else is taken from that file
            return annotated
        return annotated._replace(sizes_hw=[size_wh[::-1]] * len(annotated.image_paths))
