"""What the shipped tracker does on the demo clip, recorded.

After new weights or new parameters of the tracker, run `python -m tests.support.record_shipped`,
look at the printed overlap, and commit the file. Needs the extra `demo`.
"""

from pathlib import Path

import numpy as np

BOXES = Path(__file__).with_name("shipped_demo_boxes.csv")


def track():
    """Boxes [N, 4] of the default config on the demo clip, and its ground truth [N, 4]."""
    import dimp_jax
    from dimp_jax.evaluation import demo
    from dimp_jax.evaluation.runners import one_by_one

    sequence = demo.load()
    tracker = dimp_jax.load("dimp_lite0")
    boxes, _ = one_by_one.track(tracker, sequence, seed=tracker.config.seed)
    return boxes, sequence.groundtruth


def mean_iou(boxes_xywh, groundtruth_xywh) -> float:
    """Over the frames in which the target is visible, without the first, whose box is given."""
    from dimp_jax.evaluation.metrics import curves
    from dimp_jax.media.sequences import present

    seen = present(groundtruth_xywh)
    seen[0] = False
    return float(curves.overlap(boxes_xywh[seen], groundtruth_xywh[seen]).mean())


if __name__ == "__main__":
    boxes, groundtruth = track()
    np.savetxt(BOXES, boxes, fmt="%.2f", delimiter=",", header="x, y, w, h: record_shipped.py")
    print(f"{BOXES}: {len(boxes)} boxes, mean IoU {mean_iou(boxes, groundtruth):.3f}")
