"""What several tests share: data, networks, trackers, trainings, and readers of the recordings."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
