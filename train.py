"""Meta-trains a DiMP tracker, on one device or on many hosts.

python train.py configs/debug.py --workdir runs/debug
python train.py dimp50 --workdir runs/dimp50 --data-dir DATA --training.global-batch 16
"""

from dimp_jax.training.command import main

if __name__ == "__main__":
    raise SystemExit(main())
