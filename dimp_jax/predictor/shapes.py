"""Shape checks that run while tracing and cost nothing afterwards."""


def check_shape(name: str, array, letters: str, dims: dict) -> None:
    """Checks the shape of `array` against letters such as "N H W C", bound jointly in `dims`.

    Raises:
      ValueError: another rank, or a letter that is already bound to another size.
    """
    expected = letters.split()
    if len(array.shape) != len(expected):
        raise ValueError(f"{name}: expected [{letters}], got shape {tuple(array.shape)}")
    for letter, size in zip(expected, array.shape, strict=True):
        bound = int(letter) if letter.isdigit() else dims.setdefault(letter, size)
        if bound != size:
            known = ", ".join(f"{k}={v}" for k, v in dims.items())
            raise ValueError(
                f"{name}: expected [{letters}] with {known}, got shape {tuple(array.shape)}"
            )
