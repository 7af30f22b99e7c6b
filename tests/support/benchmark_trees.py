"""Miniature copies of the benchmarks in their official form, quirks included.

A frame is 32 x 24 px with a bright 10 x 8 px target, which moves by 1 px a frame. Sequences are
shorter than the official ones, which `load` accepts as long as boxes and frames agree; load them by
name (`only=benchmark_trees.OTB`): a whole benchmark must be complete.
"""

import functools

import cv2
import numpy as np

SIZE_WH = (32, 24)
OTB = (
    "BlurCar3 Board David Deer Football1 Human4_2 Jogging_1 Jogging_2 KiteSurf Skating2_1 "
    "Skating2_2 Tiger1"
).split()
NFS = ["nfs_Gymnastics", "nfs_airboard_1"]
UAV123 = ["uav_bird1_1", "uav_bird1_2", "uav_uav2"]
LASOT = ["airplane-1", "monkey-17"]
LASOT_EXT = ["atv-1", "wingsuit-10"]
TRACKINGNET = ["-0SmyHvq2Is_0", "a.b_12"]
GOT10K_VAL = ["GOT-10k_Val_000001", "GOT-10k_Val_000002"]
GOT10K_TEST = ["GOT-10k_Test_000001", "GOT-10k_Test_000002"]
VOT2018 = ["ants1", "bag"]


def box(index):
    """x, y, w, h of the target in the frame with this number."""
    return (4 + index % 12, 6, 10, 8)


@functools.cache
def frame_bytes(phase, suffix=".jpg"):
    image = np.random.default_rng(0).integers(60, 90, (*SIZE_WH[::-1], 3), np.uint8)
    x, y, w, h = box(phase)
    image[y : y + h, x : x + w] = (30, 120, 220)
    return cv2.imencode(suffix, image)[1].tobytes()


def write_frames(folder, frames, form="{:04d}.jpg"):
    """Frames with these numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = form[form.rindex(".") :]
    for number in frames:
        (folder / form.format(number)).write_bytes(frame_bytes(number % 12, suffix))


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def rows(frames, separator=","):
    """One line a frame."""
    return [separator.join(str(value) for value in box(number)) for number in frames]


def make_otb(root):
    """The twelve targets of OTB, in ten folders."""

    def sequence(folder, frames, lines, form="{:04d}.jpg", annotation="groundtruth_rect.txt"):
        write_frames(root / folder / "img", frames, form)
        write_lines(root / folder / annotation, lines)

    sequence("Deer", range(1, 5), rows(range(1, 5)))
    sequence("David", range(1, 305), rows(range(300, 305), "\t"))
    sequence("Football1", range(1, 82), rows(range(1, 75), " "))
    sequence("Tiger1", range(1, 10), rows(range(1, 10)))
    mixed = [*rows(range(3, 6), "\t"), "  10  6\t10, 8 "]
    sequence("BlurCar3", range(3, 7), mixed)
    sequence("Board", range(1, 4), rows(range(1, 4)), "{:05d}.jpg")
    sequence("KiteSurf", range(1, 4), rows(range(1, 4)), "{:04d}.png")
    sequence("Human4", range(1, 5), rows(range(1, 5)), annotation="groundtruth_rect.2.txt")
    (root / "Human4" / "groundtruth_rect.1.txt").write_text("\r\n")
    for folder in ("Jogging", "Skating2"):
        sequence(folder, range(1, 5), rows(range(1, 5)), annotation="groundtruth_rect.1.txt")
        write_lines(root / folder / "groundtruth_rect.2.txt", rows(range(5, 9)))
    return root


def make_nfs(root):
    """The original pack: boxes at 240 frames a second, and one box less than frames."""

    def corners(index):
        x, y, w, h = box(index)
        return f'0 {x} {y} {x + w} {y + h} {index} 0 0 0 "a thing"'

    for name, frames, lines in (
        ("airboard_1", range(1, 4), [corners((i + 8) // 8) for i in range(24)]),
        ("Gymnastics", range(1, 5), [corners(i) for i in range(1, 4)]),
    ):
        write_frames(root / name / "30" / name, frames, "{:05d}.jpg")
        write_lines(root / name / "30" / f"{name}.txt", lines)
        (root / name / "240").mkdir()
    return root


def make_nfs_converted(root):
    """The converted pack."""
    for name, boxes in (("airboard_1", range(1, 4)), ("Gymnastics", range(1, 3))):
        write_frames(root / "sequences" / name, range(1, 4), "{:05d}.jpg")
        write_lines(root / "anno" / f"nfs_{name}.txt", rows(boxes, "\t"))
    return root


def make_uav123(root):
    """Two parts of one folder, the first one with an absent frame; one with attributes."""
    filmed, annotated = root / "data_seq" / "UAV123", root / "anno" / "UAV123"
    write_frames(filmed / "bird1", [1, 2, 3, *range(775, 779)], "{:06d}.jpg")
    write_lines(annotated / "bird1_1.txt", [rows([1])[0], "NaN,NaN,NaN,NaN", rows([3])[0]])
    write_lines(annotated / "bird1_2.txt", rows(range(775, 779)))
    write_lines(annotated / "att" / "bird1_1.txt", ["1,0,0,0,1,0,0,0,0,0,0,1"])
    write_frames(filmed / "uav2", range(1, 4), "{:06d}.jpg")
    write_lines(annotated / "uav2.txt", rows(range(1, 4)))
    return root


def make_lasot_sequence(folder, frames=4, boxes=4, absent=True):
    """Flags for every frame: the second is fully occluded, the third out of view."""
    write_frames(folder / "img", range(1, frames + 1), "{:08d}.jpg")
    lines = rows(range(1, boxes + 1))
    if absent:
        lines[2] = "0,0,0,0"
    write_lines(folder / "groundtruth.txt", lines)
    flags = lambda frame: ",".join(str(int(absent and i == frame)) for i in range(frames))
    (folder / "full_occlusion.txt").write_text(flags(1))
    (folder / "out_of_view.txt").write_text(flags(2))
    write_lines(folder / "nlp.txt", ["a thing"])


def make_lasot(root):
    """Two test sequences and one of the training split, which is left alone."""
    make_lasot_sequence(root / "airplane" / "airplane-1")
    make_lasot_sequence(root / "airplane" / "airplane-2")
    make_lasot_sequence(root / "monkey" / "monkey-17", frames=5, boxes=4)
    write_lines(root / "att" / "airplane-1.txt", ["0,1,0,0,0,0,0,0,0,1,0,0,0,0"])
    return root


def make_lasot_ext(root):
    for name in LASOT_EXT:
        make_lasot_sequence(root / name.split("-")[0] / name)
    return root


def make_trackingnet(root):
    """Twelve frames in the first sequence, three in the second."""
    for name, count in zip(TRACKINGNET, (12, 3), strict=True):
        write_frames(root / "TEST" / "frames" / name, range(count), "{:d}.jpg")
        write_lines(root / "TEST" / "anno" / f"{name}.txt", rows([0]))
    return root


def make_got10k(root, split="val"):
    """Four frames a sequence; in the second one (val) nothing of the target is visible."""
    names = {"val": GOT10K_VAL, "test": GOT10K_TEST}[split]
    for name in names:
        folder = root / split / name
        write_frames(folder, range(1, 5), "{:08d}.jpg")
        if split == "test":
            write_lines(folder / "groundtruth.txt", rows([1]))
            continue
        boxes = [tuple(float(value) for value in box(number)) for number in range(1, 5)]
        write_lines(
            folder / "groundtruth.txt", [",".join(f"{v:.4f}" for v in row) for row in boxes]
        )
        write_lines(folder / "cover.label", [8, 0, 3, 8])
        write_lines(folder / "absence.label", [0, 1, 0, 0])
        write_lines(folder / "cut_by_image.label", [0] * 4)
        meta = ["[METAINFO]", "url: https://a.b/?c=%20d", "anno_fps: 10Hz", "object_class: dog"]
        write_lines(folder / "meta_info.ini", [*meta, "resolution: (32, 24)"])
    write_lines(root / split / "list.txt", names)
    return root


def make_vot2018(root, names=VOT2018):
    """Three frames a sequence: axis-aligned squares, and tags in some frames."""
    for name in names:
        write_frames(root / name / "color", range(1, 4), "{:08d}.jpg")
        polygons = []
        for number in range(1, 4):
            x, y, w, h = box(number)
            corners = [(x, y + h), (x, y), (x + w, y), (x + w, y + h)]
            polygons.append(",".join(f"{v:.3f}" for corner in corners for v in corner))
        write_lines(root / name / "groundtruth.txt", polygons)
        write_lines(root / name / "occlusion.tag", [0, 1, 0])
        write_lines(root / name / "camera_motion.tag", [1])  # ends before the frames do
        write_lines(root / name / "size_change.tag", [0, 0, 0])
    write_lines(root / "list.txt", names)
    return root
