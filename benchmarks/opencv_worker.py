"""Runs one of OpenCV's trackers over one sequence. Started by `benchmarks.baselines`.

python opencv_worker.py JOB.json RESULT.json    # the job and the result are described at `run`
python opencv_worker.py --describe              # prints what this OpenCV has, as JSON

It runs in an environment of its own and so imports OpenCV and numpy, but nothing of this project.
"""

import json
import sys
import time

import cv2
import numpy as np

TRACKERS = ("CSRT", "KCF", "MIL", "Nano")


def describe() -> dict:
    """Version of OpenCV, those of `TRACKERS` that it has, and its default number of threads."""
    found = [name for name in TRACKERS if hasattr(cv2, f"Tracker{name}_create")]
    return {"opencv": cv2.__version__, "trackers": found, "threads": cv2.getNumThreads()}


def factory(job: dict):
    """The function that makes the job's tracker.

    Raises:
      ValueError: this OpenCV lacks the tracker, or cannot read the files of its network.
    """
    create = getattr(cv2, f"Tracker{job['tracker']}_create", None)
    if create is None:
        raise ValueError(f"OpenCV {cv2.__version__} has no tracker {job['tracker']!r}")
    if "network" not in job:
        return create
    params = cv2.TrackerNano_Params()
    params.backbone, params.neckhead = job["network"]
    try:
        create(params)
    except cv2.error as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{' and '.join(job['network'])}: not read by OpenCV: {text}") from error
    return lambda: create(params)


def integer_box(box_xywh, image_hw) -> tuple[int, int, int, int]:
    """The box rounded to whole pixels and cut at the border; at least one pixel stays."""
    x, y, w, h = (int(v) for v in np.rint(box_xywh))
    height, width = image_hw
    left, top = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    right = min(max(x + max(w, 1), left + 1), width)
    bottom = min(max(y + max(h, 1), top + 1), height)
    return left, top, right - left, bottom - top


def run(job: dict) -> dict:
    """Tracks one sequence; decoding is not timed.

    Args:
      job: "tracker" (one of `TRACKERS`), "images" (N paths), "box_xywh" (first box, pixels),
        "threads" (None: OpenCV's default) and for Nano "network" (two ONNX files: backbone, head).

    Returns:
      "boxes" [N][4]: the first is the rounded given box; a frame in which the tracker reports
      failure, or OpenCV raises, repeats the one before. "seconds" [N]: the first is that of
      creating and initialising the tracker. "not_found": number of frames of reported failure,
      "errors": number of those in which OpenCV raised, "first_error": its text or None;
      "threads": number used.

    Raises:
      ValueError: an image cannot be decoded, or the tracker cannot be made.
    """
    create = factory(job)
    if job["threads"] is not None:
        cv2.setNumThreads(job["threads"])
    cv2.setRNGSeed(0)
    boxes, seconds, first_error, tracker = [], [], None, None
    not_found = errors = 0
    for index, path in enumerate(job["images"]):
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{path}: cannot be decoded as an image")
        if index == 0:
            box = integer_box(job["box_xywh"], image.shape[:2])
        found = True
        started = time.perf_counter()
        try:
            if index == 0:
                tracker = create()
                tracker.init(image, box)
            else:
                found, now = tracker.update(image)
                box = now if found else box
        except cv2.error as error:
            found, errors = False, errors + 1
            first_error = first_error or f"frame {index}: {' '.join(str(error).split())}"
        seconds.append(time.perf_counter() - started)
        boxes.append([float(v) for v in box])
        not_found += not found
    return {
        "boxes": boxes,
        "seconds": seconds,
        "not_found": not_found,
        "errors": errors,
        "first_error": first_error,
        "threads": cv2.getNumThreads(),
    }


def main(argv) -> int:
    if argv == ["--describe"]:
        print(json.dumps(describe()))
        return 0
    job_path, result_path = argv
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    try:
        result = run(job)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
