"""Building data sets: the command `python -m dimp_jax.data.build`, its parts and its workers."""
