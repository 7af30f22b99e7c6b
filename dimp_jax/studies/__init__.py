"""Studies of the predictor and its meta-learned loss: python -m dimp_jax.studies NAME --out DIR."""
