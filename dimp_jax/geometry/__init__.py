"""Boxes and crops: image pixels, crop pixels, cells, and the maps between them."""
