"""Speed of the parts, each figure a ratio taken in one run: `python -m benchmarks [NAME ...]`."""
