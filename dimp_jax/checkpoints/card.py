"""The card of a checkpoint: JSON that says what the weights are."""

from dimp_jax import config as config_lib
from dimp_jax.checkpoints import CheckpointError

FORMAT = 1
TYPES = {
    "format": int,
    "architecture": str,
    "config": dict,
    "contains": list,
    "source": dict,
    "dimp_jax": str,
}


def check(card, path) -> None:
    """Raises CheckpointError, which names `path`, unless `card` is as `store.read_card` says."""
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: damaged card: expected a dict, got {type(card).__name__}")
    if card.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{path}: its card has format {card['format']!r}, this version reads {FORMAT}"
        )
    for key, kind in TYPES.items():
        if type(card.get(key)) is not kind:
            raise CheckpointError(
                f"{path}: damaged card: {key!r} is {card.get(key)!r:.80}, expected {kind.__name__}"
            )
    try:
        config_lib.from_dict(config_lib.Config, card["config"])
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its card has no valid config: {error}") from error
