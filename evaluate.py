"""Tracks in a video, a camera, sequences, a benchmark or the demo clip, and scores the result.

python evaluate.py                                       # the demo
python evaluate.py dimp50 --checkpoint CKPT --data DIR   # DIR: a sequence, or a folder of them
python evaluate.py dimp50 --checkpoint CKPT --dataset otb100 --data-dir OTB --runs 3
python evaluate.py --video clip.mp4 --box 10,20,80,60 --save-video
python evaluate.py --video 0 --show                      # camera: draw the box in the window
"""

import sys

from dimp_jax.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run("evaluate", sys.argv[1:], "evaluate.py"))
