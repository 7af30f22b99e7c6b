"""Meta-trains a DiMP tracker, on one device or on many hosts.

python train.py configs/debug.py --workdir runs/debug
python train.py dimp50 --workdir runs/dimp50 --data-dir DATA --training.global-batch 16
"""

import sys

from dimp_jax.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run("train", sys.argv[1:], "train.py"))
