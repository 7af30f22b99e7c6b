"""Miniature data sets in the layouts of their authors, and faults to put into them."""

import json
import struct
import zlib

import cv2
import numpy as np

SIZE_HW = (48, 64)


def frame_rgb(seed, size_wh=SIZE_HW[::-1]):
    """[H, W, 3] uint8, different for every seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(small, size_wh, interpolation=cv2.INTER_LINEAR)


def write_image(path, seed, size_wh=SIZE_HW[::-1]):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), frame_rgb(seed, size_wh)[..., ::-1])


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def box_row(frame):
    return f"{5 + frame},{6 + frame},20,10"


def rows_of(count):
    return [box_row(frame) for frame in range(count)]


def sequence_folder(root, lengths, suffix=".jpg"):
    """{name: number of frames}: img/, groundtruth.txt."""
    for number, (name, count) in enumerate(lengths.items()):
        for frame in range(count):
            path = root / name / "img" / f"{frame + 1:06d}{suffix}"
            write_image(path, 100 * number + frame)
        write_lines(root / name / "groundtruth.txt", rows_of(count))
    return root


def write_mask(path, box_xywh, size_hw=SIZE_HW):
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, w, h = box_xywh
    mask = np.zeros(size_hw, np.uint8)
    mask[y : y + h, x : x + w] = 255
    assert cv2.imwrite(str(path), mask)


def image_folder(root):
    """Three images; two objects in the second, a mask of the third's."""
    for number in range(3):
        write_image(root / "img" / f"{number}.jpg", number)
    rows = [
        "file,x,y,w,h,has_mask",
        "img/0.jpg,1,2,30,20,0",
        "img/1.jpg,3,4,10,10,0",
        "img/1.jpg,20,4,12,11,1",
        "img/2.jpg,5,6,7,8,1",
    ]
    write_lines(root / "boxes.csv", rows)
    write_mask(root / "mask" / "1.png", (20, 4, 12, 11))
    write_mask(root / "mask" / "2.png", (5, 6, 7, 8))
    return root


def got10k(root):
    """Train: 4 listed sequences of 5 frames, the last not there; val: 1 of 3."""
    for split, names, count in (
        ("train", ["GOT-10k_Train_000001", "GOT-10k_Train_000002", "GOT-10k_Train_000003"], 5),
        ("val", ["GOT-10k_Val_000001"], 3),
    ):
        for number, name in enumerate(names):
            folder = root / split / name
            for frame in range(count):
                write_image(folder / f"{frame + 1:08d}.jpg", 10 * number + frame)
            write_lines(folder / "groundtruth.txt", rows_of(count))
            write_lines(folder / "absence.label", [0, 1, 0, 0, 0][:count])
            write_lines(folder / "cover.label", [8, 8, 0, 3, 8][:count])
            write_lines(folder / "cut_by_image.label", [0] * count)
            (folder / "meta_info.ini").write_text("[METAINFO]\nanno_fps: 10Hz\n")
        missing = ["GOT-10k_Train_000004"] if split == "train" else []
        write_lines(root / split / "list.txt", names + missing)
    return root


def lasot(root):
    """Two classes of two sequences with 4 frames; airplane-2 is a test sequence."""
    for number, name in enumerate(("airplane-1", "airplane-2", "book-1", "book-10")):
        folder = root / name.split("-")[0] / name
        for frame in range(4):
            write_image(folder / "img" / f"{frame + 1:08d}.jpg", 10 * number + frame)
        write_lines(folder / "groundtruth.txt", [*rows_of(3), "5,5,0,0"])
        write_lines(folder / "full_occlusion.txt", ["0,1,0,0"])
        write_lines(folder / "out_of_view.txt", ["0,0,1,0"])
        write_lines(folder / "nlp.txt", ["a thing"])
    write_lines(root / "testing_set.txt", ["airplane-2", "zebra-9"])
    return root


def trackingnet(root):
    """Chunks 0 and 1; twelve frames in the one sequence of chunk 0, three in that of 1."""
    for chunk, name, count in ((0, "a_0", 12), (1, "b_3", 3)):
        folder = root / f"TRAIN_{chunk}"
        for frame in range(count):
            write_image(folder / "frames" / name / f"{frame}.jpg", 20 * chunk + frame)
        write_lines(folder / "anno" / f"{name}.txt", [*rows_of(count - 1), "1,1,0,4"])
    return root


def coco(root, year="2017"):
    """Two annotated images: two objects and a crowd in the first, one without polygons."""
    split = f"train{year}"
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "height": SIZE_HW[0], "width": SIZE_HW[1]}
        for number in (7, 9, 11)
    ]
    for image in images:
        write_image(root / "images" / split / image["file_name"], image["id"])
    outline = [10, 8, 30, 8, 30, 20, 10, 20]
    annotations = [
        {"id": 1, "image_id": 9, "bbox": [10, 8, 20, 12], "iscrowd": 0, "segmentation": [outline]},
        {"id": 2, "image_id": 7, "bbox": [1.5, 2, 9, 8.25], "iscrowd": 0, "segmentation": []},
        {"id": 3, "image_id": 9, "bbox": [0, 0, 64, 48], "iscrowd": 1, "segmentation": {}},
        {"id": 4, "image_id": 9, "bbox": [3, 3, 5, 6], "iscrowd": 0, "segmentation": []},
        {"id": 5, "image_id": 9, "bbox": [3, 3, 0, 6], "iscrowd": 0, "segmentation": []},
    ]
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


def davis(root):
    """One video of 4 frames with two objects, and the lists of both years."""
    for frame in range(4):
        write_image(root / "JPEGImages" / "480p" / "bear" / f"{frame:05d}.jpg", frame)
        indices = np.zeros(SIZE_HW, np.uint8)
        indices[10:20, 5 + frame : 25 + frame] = 1
        if frame != 2:
            indices[30:36, 40:50] = 2
        path = root / "Annotations" / "480p" / "bear" / f"{frame:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(palette_png(indices))
    sets = root / "ImageSets"
    write_lines(sets / "2017" / "train.txt", ["bear"])
    pair = "/JPEGImages/480p/bear/{0:05d}.jpg /Annotations/480p/bear/{0:05d}.png"
    write_lines(sets / "2016" / "train.txt", [pair.format(frame) for frame in range(4)])
    return root


def palette_png(indices):
    """A PNG whose colours come from a palette, as those of DAVIS; OpenCV writes none."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    height, width = indices.shape
    palette = bytes([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
