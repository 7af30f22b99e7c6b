"""No arm: dimp_lite0 from fresh heads on the data of its last training (docs/models)."""

from dimp_jax import config

SOURCES = {"davis16": 1.0, "more_videos": 1.0, "stills": 1.3, "more_stills": 2.2, "composite": 2.2}
SHARES = {"mosaic": 0.8, "part": 0.2, "crop.blur": 0.15, "crop.coarse": 0.2}
CROP = {"size_px": 256, "search_area_scale": 4.0, "contrast_jitter": 0.2}
JITTER = {"train_center_jitter": 2.4, "test_center_jitter": 3.5}


def get_config() -> config.Config:
    values = {"sources": tuple(SOURCES.items()), "sampler.max_gap": 60}
    values |= {f"{name}_probability": share for name, share in SHARES.items()}
    values |= {f"crop.{name}": value for name, value in (CROP | JITTER).items()}
    return config.changed(
        config.load("dimp_lite0"), {f"training.data.{name}": v for name, v in values.items()}
    )
