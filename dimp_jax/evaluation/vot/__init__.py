"""The VOT challenge: `python -m dimp_jax.evaluation.vot` drives its toolkit."""
