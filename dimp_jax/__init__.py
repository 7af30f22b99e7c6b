"""DiMP visual object tracking as a functional JAX/Flax system.

import dimp_jax
tracker = dimp_jax.load("dimp_lite0")           # a config's name, or a checkpoint's path
state = tracker.init(image, box)                # uint8 RGB [H, W, 3]; x, y, w, h in pixels
state, result = tracker.step(state, next_image)
result.box_xywh, result.score, result.verdict
"""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dimp_jax.tracking.tracker import Tracker

__version__ = "0.2.0"
IMPORTED_S = time.time()  # what is written into a file later, this process does not run


def load(name_or_path, changes: "dict | None" = None) -> "Tracker":
    """Readies a tracker.

    jax then keeps compiled programs in ~/.cache/dimp_jax, unless it has a folder for them already
    (`host.compilation.enable_cache`).

    Args:
      name_or_path: a shipped config by name or a config file; or a checkpoint directory, the work
        directory of a training or a .safetensors file, with the config of its card. The name of
        shipped weights ("dimp_lite0") means these, even where a directory is called so: write
        "./dimp_lite0" for that.
      changes: other values of some fields of the config, by their dotted names:
        {"model.predictor.learned.weight": "initial"}.

    Returns:
      `dimp_jax.tracking.tracker.Tracker`.

    Raises:
      FileNotFoundError: no such config, or its weights are not installed.
      ValueError: no such checkpoint, a damaged one, one that does not fit its config, or a torch
        file (the message says how to convert it); or `changes` has a field that does not exist, or
        a value of another type.
    """
    import dataclasses
    import os
    from pathlib import Path

    # Imported here so that `import dimp_jax` costs nothing.
    from dimp_jax import config as configs
    from dimp_jax.checkpoints import shipped, store, torch_file, weights_file
    from dimp_jax.predictor import parts
    from dimp_jax.tracking import tracker

    path, files = Path(name_or_path), (weights_file.SUFFIX, *torch_file.SUFFIXES)
    is_checkpoint = os.path.isdir(name_or_path) or path.suffix in files  # "" is no directory
    if is_checkpoint and not shipped.is_shipped(name_or_path):
        config = configs.from_dict(configs.Config, store.read_card(path)["config"])
        parts.check_imported(config.model.predictor, path)
        # With its folder: a bare name could be that of shipped weights.
        checkpoint = str(path.absolute())
        # The card's seed is the training's: `evaluate.py --checkpoint` does not take it, either.
        config = dataclasses.replace(config, checkpoint=checkpoint, seed=configs.Config.seed)
    else:
        config = configs.load(str(name_or_path))
    return tracker.build(configs.changed(config, changes or {}))
