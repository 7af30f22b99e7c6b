"""Going on in the middle of a backbone: what a frozen part made need not be made again."""

# Names of a backbone's parts and what they returned, [N, H, W, C] each.
FeatureMaps = dict


def frozen_parts(parts, frozen) -> tuple[str, ...]:
    """The longest beginning of `parts` of which everything is frozen.

    Args:
      parts: of a backbone, in the order in which they are computed.
      frozen: paths of modules, as in `optim.frozen`: "backbone", "backbone/stem".
    """
    if "backbone" in frozen:
        return tuple(parts)
    count = 0
    while count < len(parts) and f"backbone/{parts[count]}" in frozen:
        count += 1
    return tuple(parts[:count])


def kept_parts(parts, taps, frozen) -> tuple[str, ...]:
    """The parts whose maps are all that is needed of a backbone's frozen beginning.

    These are its last part, from which the others go on, and what the heads read from it.

    Args:
      taps: names of the maps that the heads read, and the part that makes each.
    """
    beginning = frozen_parts(parts, frozen)
    return tuple(p for p in beginning if p in taps.values() or p == beginning[-1])


def resumed(x, parts):
    """(maps so far, what the next part takes, parts that are done) of images or `FeatureMaps`."""
    if not isinstance(x, FeatureMaps):
        return {}, x, ()
    last = max(parts.index(name) for name in x)
    return dict(x), x[parts[last]], parts[: last + 1]
