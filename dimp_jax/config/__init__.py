"""Every option and its default, as frozen dataclasses, and the files that hold them."""

# ruff: noqa: F401  (all of these are for those who import the package)

from dimp_jax.config.files import (
    Config,
    changed,
    config_dir,
    differences,
    from_dict,
    load,
    shipped_names,
    to_dict,
)
from dimp_jax.config.network import ModelConfig
from dimp_jax.config.predictor import KLConfig, LearnedParts, PredictorConfig
from dimp_jax.config.tracker import (
    AugmentConfig,
    LocalizeConfig,
    MemoryConfig,
    RefineConfig,
    TrackerConfig,
)
from dimp_jax.config.training import TrainingConfig
