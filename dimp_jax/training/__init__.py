"""A training run: the loop, its work directory, logs, figures and validation.

The mathematics of a step is in steps.py, the data in dimp_jax/data/.
"""
