"""Several targets at once: lanes of one program, and objects of one video."""
