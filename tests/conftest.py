"""Set before jax is imported: four virtual CPU devices and no silent rank promotion."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()

import jax  # noqa: E402  (the flag above must come first)

jax.config.update("jax_numpy_rank_promotion", "raise")
