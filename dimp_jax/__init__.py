"""DiMP visual object tracking as a functional JAX/Flax system.

import dimp_jax
tracker = dimp_jax.load("dimp_lite0")           # a config's name, or a checkpoint's path
state = tracker.init(image, box)                # uint8 RGB [H, W, 3]; x, y, w, h in pixels
state, result = tracker.step(state, next_image)
result.box_xywh, result.score, result.verdict
"""

__version__ = "0.1.0"


def load(name_or_path: str):
    """Readies a tracker: a shipped config by name, a config file, or a checkpoint directory.

    Returns:
      `dimp_jax.tracking.tracker.Tracker`.

    Raises:
      FileNotFoundError: no such config or checkpoint, or its weights are not installed.
      ValueError: a damaged checkpoint, or one that does not fit its config.
    """
    import dataclasses
    from pathlib import Path

    # Imported here so that `import dimp_jax` costs nothing.
    from dimp_jax import config as configs
    from dimp_jax.checkpoints import store
    from dimp_jax.tracking import tracker

    path = Path(name_or_path)
    if path.is_dir():
        card = store.read_card(path)
        config = configs.from_dict(configs.Config, card["config"])
        config = dataclasses.replace(config, checkpoint=str(path))
    else:
        config = configs.load(name_or_path)
    return tracker.build(config)
