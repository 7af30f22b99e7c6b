"""From the names in a config to sources of frames."""

import os

from dimp_jax.config.training import DataConfig
from dimp_jax.data.source import Source

DATA_DIR_VARIABLE = "TFDS_DATA_DIR"
GENERATED = ("synthetic", "composite")


def open_sources(data: DataConfig, names, seed: int) -> list[Source]:
    """Opens each of `names`: "synthetic", "composite" or a built data set, "NAME" or "NAME:SPLIT".

    Args:
      names: of `data.sources` or `data.validation_sources`, without the weights.
      seed: of the sequences of "composite".

    Raises:
      ValueError: a malformed name, or no folder of data sets given where one is needed. A data set
        that is not there raises what its reader does, naming the folder.
    """
    return [_open(data, name, seed) for name in names]


def data_dir(data: DataConfig) -> str | None:
    """The folder of built data sets: `data.data_dir`, else $TFDS_DATA_DIR, else None."""
    return data.data_dir or os.environ.get(DATA_DIR_VARIABLE) or None


def _open(data, name, seed):
    # Each reader is imported where it is used: a synthetic training reads no records.
    dataset, separator, split = name.partition(":")
    if not dataset or (separator and not split) or ":" in split:
        raise ValueError(f"source {name!r}: expected NAME or NAME:SPLIT, such as got10k:val")
    if dataset in GENERATED and separator:
        raise ValueError(f"source {name!r}: {dataset!r} is generated and has no splits")
    if dataset == "synthetic":
        from dimp_jax.data.synthetic import SyntheticSource

        return SyntheticSource(data.synthetic, seed=seed)
    if dataset == "composite":
        from dimp_jax.data.composite.source import open_source

        return open_source(data.composite, data_dir(data), min_box_px=data.min_box_px, seed=seed)

    from dimp_jax.data.records import open_source

    folder = data_dir(data)
    if folder is None:
        raise ValueError(
            f"source {name!r} is a built data set, and no folder of them was given: set "
            f"training.data.data_dir or the variable {DATA_DIR_VARIABLE}. `dimp-jax build` makes "
            "one, and configs/debug.py trains without any"
        )
    return open_source(folder, dataset, split or "train", min_box_px=data.min_box_px)
