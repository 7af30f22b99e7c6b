"""Convolutions as functions of arrays, one file a form: those that XLA's CPU backend runs fast.

All take NHWC images and give what `plain.convolve` gives, but for rounding
(docs/guides/performance.md has the times). `layers.Conv` picks the form.
"""
