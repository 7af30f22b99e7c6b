"""Training data: builders of data sets, sources of frames, samples, and their loading.

Imports neither jax nor flax, so that worker processes start fast.
"""
