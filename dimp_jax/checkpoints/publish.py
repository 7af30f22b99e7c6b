"""A checkpoint as one .safetensors file to give away, and such a file as a checkpoint again."""

import re
from pathlib import Path

from dimp_jax.checkpoints import run, shipped, store, weights_file


def to_file(source, output, dtype: str = "float16") -> list[str]:
    """Writes a checkpoint, of a training's work directory the best one; returns lines for people.

    Batch norms stay as they are, so that a training can start from the file. Left out are the
    optimiser's state, the unused tensors of a torch file, and the folders that the config names.

    Args:
      source: as in `store.load`.
      output: as in `weights_file.save`.
      dtype: of the kernels; see `weights_file.save`.

    Raises:
      CheckpointError, OSError: as those two.
    """
    variables, card = store.load(source)
    origin = dict(card["source"])
    step = run.step_folder(shipped.resolve(source))
    if step is not None:
        meta = run.read_meta(step)
        origin |= {"step": meta["step"], "score": meta.get("score")}
    if isinstance(origin.get("start"), str):
        origin["start"] = re.sub(r"\S*/", "", origin["start"])  # names of files, not of folders
    config = without_folders(card["config"]) | {"checkpoint": None}
    card = card | {"config": config, "source": origin}
    change, name = weights_file.save(output, variables, card, dtype)
    size = Path(output).stat().st_size
    at = "" if step is None else f", step {origin['step']}, score {origin['score']}"
    return [
        f"{source}: {card['architecture']}{at}",
        f"wrote {output}: {size / 1e6:.2f} MB, kernels in {dtype}",
        f"largest change of a value: {change:.2e} of the largest of its tensor, {name}",
    ]


def to_directory(source, output) -> list[str]:
    """Makes the checkpoint directory `output` of a .safetensors file or of shipped weights.

    Returns lines for people; raises what `store.load` and `store.save` do.
    """
    variables, card = store.load(source)
    store.save(output, variables, card)
    return [f"{source}: {card['architecture']}, {', '.join(card['contains'])}", f"wrote {output}"]


def without_folders(config):
    """A config tree (JSON types) without the folders of the machine that it was used on."""
    if not isinstance(config, dict):
        return config
    of_machine = lambda key: key == "dir" or key.endswith("_dir")
    return {k: None if of_machine(k) else without_folders(v) for k, v in config.items()}
