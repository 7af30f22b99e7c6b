"""Converts weights: torch files to Orbax checkpoint directories, these to one file, and back.

python -m dimp_jax.convert dimp50.pth checkpoints/dimp50        # (Pr)DiMP-18, -50, SuperDiMP
python -m dimp_jax.convert resnet18-f37072fd.pth imagenet18     # torchvision: backbone only
python -m dimp_jax.convert checkpoints/dimp50 dimp50.npz        # torch names and layouts
python -m dimp_jax.convert runs/dimp50 dimp50.npz               # of a training's best checkpoint
python -m dimp_jax.convert runs/mine mine.safetensors           # one file, to give away
python -m dimp_jax.convert mine.safetensors checkpoints/mine

Torch is not needed, and nothing in the file is executed. Exit status 2 and one line on stderr when
something is wrong; nothing is written then.
"""

import dataclasses
import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from dimp_jax import config as config_lib
from dimp_jax.checkpoints import (
    CheckpointError,
    card_config,
    publish,
    refuse_existing,
    run,
    shipped,
    state_dict,
    store,
    torch_file,
    weights_file,
)
from dimp_jax.checkpoints.torch_names import TRACKERS
from dimp_jax.host import command_line, files


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Converts torch weights to an Orbax checkpoint directory, and such a directory to .safetensors
    or .npz."""

    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A .pth or .pth.tar file of DiMP-18, DiMP-50, PrDiMP-18, PrDiMP-50, SuperDiMP, torchvision's
    ResNet-18 or -50 (without its last layer, too) or EfficientNet-Lite0, in single or half
    precision, as a state dict or with one under a usual key (net, state_dict, model, ...); a
    checkpoint directory, or the work directory of a training (its best checkpoint); a .safetensors
    file; or the name of weights that ship with dimp_jax."""
    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The directory to make. For a directory as input, a new file: .safetensors, or .npz with the
    published names and layouts of the tracker."""
    config: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Config to put in the card of a torch file: a shipped name or a .py file. Default: that of
    the network. A file of DiMP-50's tensors that does not say what made it is taken for DiMP-50;
    for SuperDiMP, which has the same ones, give super_dimp."""
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    """Of the kernels in a .safetensors file; vectors stay float32. Default: float16."""


@command_line.command("convert", ValueError, OSError)
def main(argv=None, prog="python -m dimp_jax.convert") -> int:
    """Exit status: 0; 2 if something is wrong, after a line on stderr: nothing is written then."""
    print(*_convert(tyro.cli(Arguments, args=argv, prog=prog)), sep="\n")
    return 0


def _convert(arguments: Arguments) -> list[str]:
    """Chooses by what the input is and by the suffix of the output."""
    output, source = arguments.output, shipped.resolve(arguments.input)
    refuse_existing(output)
    is_torch = not source.is_dir() and source.suffix != weights_file.SUFFIX
    to_file = source.is_dir() and output.suffix == weights_file.SUFFIX
    if arguments.config is not None and not is_torch:
        raise CheckpointError(f"--config {arguments.config}: only for a torch file as input")
    if arguments.dtype is not None and not to_file:
        raise CheckpointError(
            f"--dtype {arguments.dtype}: only from a directory to a {weights_file.SUFFIX} file"
        )
    if not source.is_dir() and output.suffix in (".npz", weights_file.SUFFIX):
        raise CheckpointError(
            f"{output}: only a checkpoint directory is converted to {output.suffix}"
        )
    if is_torch:
        return to_checkpoint(source, output, arguments.config)
    if not source.is_dir():
        return publish.to_directory(arguments.input, output)
    if to_file:
        return publish.to_file(source, output, arguments.dtype or "float16")
    return to_npz(source, output)


def to_checkpoint(source, output, config_name=None) -> list[str]:
    """Converts the torch file `source` to a checkpoint directory; returns lines for people.

    Args:
      config_name: config of the card, as in `config.load`; None: the one of the network's name.

    Raises:
      CheckpointError: not a torch file, another network, or `output` exists.
      ValueError, FileNotFoundError: the config cannot be loaded.
    """
    file = torch_file.read(source)
    try:
        tensors, constructor, found_as = state_dict.find(file.value)
        found = state_dict.identify(tensors)
        architecture, config_name, config = card_config.choose(found, constructor, config_name)
        variables, extras = state_dict.from_torch(tensors, architecture)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    groups = sorted(variables["params"])
    card = {
        "format": store.FORMAT,
        "architecture": architecture,
        "config": config_lib.to_dict(dataclasses.replace(config, checkpoint=None)),
        "contains": groups,
        "source": {
            "file": Path(source).name,
            "sha256": file.sha256,
            "container": file.container,
            "unknown_globals": file.unknown_globals,
        },
        "dimp_jax": importlib.metadata.version("dimp_jax"),
    }
    # Only trackers have a way back, for which the unused tensors are kept.
    store.save(output, variables, card, extras if architecture in TRACKERS else None)
    unknown = ", ".join(f"{name!a} x{count}" for name, count in file.unknown_globals.items())
    lines = [
        f"{source}: {architecture}, {len(tensors)} tensors ({len(extras)} of them unused by DiMP)",
        f"{file.container} container, sha256 {file.sha256}{found_as}",
        f"unknown classes, kept inert: {unknown or 'none'}",
        f"wrote {output}: {', '.join(groups)}; config {config_name}",
    ]
    if architecture in card_config.SAME_TENSORS and constructor is None:
        other = card_config.SAME_TENSORS[architecture]
        lines.append(f"no constructor in the file: {other} has the same tensors (--config {other})")
    if architecture not in TRACKERS:
        lines.append("ImageNet weights of the backbone only: the heads of DiMP are untrained.")
    return lines


def to_npz(source, output) -> list[str]:
    """Converts a checkpoint directory of a published tracker to a state dict, as an .npz file.

    The names, shapes and bits are those of the torch file it was made of. Returns lines for people.

    Raises:
      CheckpointError: not such a directory, damaged, of another network, or `output` is not .npz
        or exists.
    """
    output = Path(output)
    if output.suffix != ".npz":
        raise CheckpointError(
            f"{output}: a checkpoint directory is converted to a file NAME{weights_file.SUFFIX} or "
            "NAME.npz"
        )
    variables, card = store.load(source)
    extras, invented = store.load_extras(source), 0
    try:
        if run.is_run(source) or run.step_folder(source):
            invented = -len(extras)
            extras = state_dict.with_unused(extras, card["architecture"])
            invented += len(extras)
        tensors = state_dict.to_torch(variables, extras, card["architecture"])
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(output) as partial, partial.open("wb") as stream:
        np.savez(stream, **tensors)
    lines = [
        f"{source}: {card['architecture']}, made by {card['source'].get('file')!a}",
        f"wrote {output}: {len(tensors)} tensors",
    ]
    if invented:
        lines.append(
            f"{invented} of them are zeros: layer4 and fc, which DiMP never evaluates, were not "
            "part of this training"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
