"""What several tests share: data, networks, trackers, trainings, and readers of the recordings."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
# For processes whose programs are compiled for longer than they run.
LITTLE_OPTIMISATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
