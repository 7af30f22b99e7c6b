"""Tracks one object with the programs beside this file; needs only jax and numpy.

python run.py frames.npy 10,20,30,40 [SEED] > boxes.txt    # uint8 RGB [N, H, W, 3]; x, y, w, h
or: state = init(image, box); state, box, score, verdict = step(state, image)
With JAX_COMPILATION_CACHE_DIR=DIR only the first start compiles.
"""

import json
import sys
from pathlib import Path

import jax.export
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))  # holds flatbuffers, with which jax reads the programs
META = json.loads((HERE / "meta.json").read_text())
PARAMS = jax.device_put(dict(np.load(HERE / "params.npz")))
RUN = {
    name: jax.jit(jax.export.deserialize(bytearray((HERE / f"{name}.stablehlo").read_bytes())).call)
    for name in META["programs"]
}


def init(image, box_xywh, seed=META["seed"]):
    """The state after the first frame: uint8 RGB [H, W, 3], and a box in 0-based pixels."""
    x, y, w, h = (float(v) for v in box_xywh)
    rows, columns = image.shape[:2]
    if not (np.isfinite([x, y]).all() and 1e-3 <= w <= 1e6 and 1e-3 <= h <= 1e6):
        raise ValueError(f"box {x}, {y}, {w}, {h}: expected finite x, y and w, h in 1e-3 .. 1e6")
    if x >= columns or y >= rows or x + w <= 0 or y + h <= 0:
        raise ValueError(f"box {x}, {y}, {w}, {h}: outside the {columns} x {rows} px image")
    center_yx = np.float32([y + (h - 1) / 2, x + (w - 1) / 2])
    size_hw = np.float32([h, w])
    area = np.prod(size_hw * np.float32(META["search_area_scale"]))
    scale = np.float32(np.sqrt(area) / META["crop_size_px"])  # image pixels per crop pixel
    pose = {"center_yx": center_yx, "size_hw": size_hw, "scale": scale}
    state = RUN["start"](PARAMS, pose, RUN["first_crop"](image, pose), np.uint32(seed))
    return state | {"pose": pose, "image_hw": np.float32(image.shape[:2])}


def step(state, image):
    """Tracks one frame: (next state, box [4] x, y, w, h, score, one of META["verdicts"])."""
    if image.shape[:2] != tuple(state["image_hw"]):
        raise ValueError(f"image of {image.shape[:2]} pixels, the first: {state['image_hw']}")
    seen = RUN["look"](PARAMS, state, RUN["crop"](image, state["pose"], state["frames_lost"]))
    y, x, h, w, verdict, score, plan = np.asarray(seen["report"], float)  # waits for the device
    state = state | seen["next"]
    if plan:  # which program learns from this frame; it runs on while the next one is read
        state = state | RUN[f"learn{int(plan)}"](PARAMS, state, seen["sample"])
    box_xywh = np.array([x - (w - 1) / 2, y - (h - 1) / 2, w, h])
    return state, box_xywh, score, META["verdicts"][int(verdict)]


if __name__ == "__main__":
    _, path, box, *seed = sys.argv if len(sys.argv) in (3, 4) else sys.exit(__doc__)
    try:
        frames = np.lib.format.open_memmap(path, mode="r")
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
            raise ValueError(f"{frames.dtype} {list(frames.shape)}")
    except (OSError, ValueError) as error:
        sys.exit(f"run.py: error: {path}: expected uint8 [N, H, W, 3] of np.save ({error})")
    try:
        first = [float(v) for v in box.split(",")]
        state = init(frames[0], first, *map(int, seed))
    except (ValueError, OverflowError) as error:
        sys.exit(f"run.py: error: {' '.join(sys.argv[2:])}: expected X,Y,W,H [SEED] ({error})")
    print(*first, sep=",")
    for frame in frames[1:]:
        state, box_xywh, score, _ = step(state, frame)
        np.isfinite(score) or sys.exit(f"run.py: error: frame {state['frame'] - 1}: score {score}")
        print(*box_xywh, sep=",", flush=True)
