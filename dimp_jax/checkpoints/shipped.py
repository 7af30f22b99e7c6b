"""The trained weights that come with the package: dimp_jax/weights/NAME.safetensors."""

from pathlib import Path

NAMES = ("dimp_lite0",)
FOLDER = Path(__file__).resolve().parent.parent / "weights"


def resolve(where) -> Path:
    """The path that `where` stands for.

    Args:
      where: str or Path. A str that is exactly one of `NAMES` is the shipped file, whatever the
        working directory holds; "./dimp_lite0", like any `Path`, is what lies there.
    """
    return file_of(where) if is_shipped(where) else Path(where)


def is_shipped(where) -> bool:
    """Does `where` name shipped weights, rather than a path?"""
    return isinstance(where, str) and where in NAMES


def file_of(name: str) -> Path:
    """Where the weights of that name are, or would be in a whole installation."""
    return FOLDER / f"{name}.safetensors"
