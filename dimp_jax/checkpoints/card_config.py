"""Which config the card of a torch file's weights gets, and whether they fit it.

The tensors do not say everything: SuperDiMP has those of DiMP-50, and some options of the network
have no tensors. The constructor that is pickled beside them does, where there is one.
"""

from dimp_jax import config as config_lib
from dimp_jax.checkpoints import CheckpointError
from dimp_jax.checkpoints.inert_pickle import Opaque
from dimp_jax.checkpoints.torch_names import TRACKERS

NAMES = {  # of a network's config
    **{tracker: tracker for tracker in TRACKERS},
    "resnet18": "dimp18",
    "resnet50": "dimp50",
    "efficientnet_lite0": "dimp_lite0_untrained",
}
# Arguments of the published constructors that change what the same tensors mean.
CONSTRUCTOR_FIELDS = {
    "filter_size": ("model", "filter_size_cells"),
    "bin_displacement": ("model", "predictor", "bin_width_cells"),
    "init_gauss_sigma": ("model", "predictor", "init_label_sigma_cells"),
    "score_act": ("model", "predictor", "score_activation"),
    "target_mask_act": ("model", "predictor", "mask_activation"),
}
SAME_TENSORS = {"dimp50": "super_dimp"}  # told apart by the constructor or by the config alone


def choose(architecture, constructor, name=None):
    """The network, the name of its config, and that config.

    Args:
      architecture: of `torch_names.ARCHITECTURES`, as far as the tensors tell.
      constructor: what is pickled beside them, or None.
      name: the config that was asked for, as in `config.load`; None: that of the network.

    Returns:
      (architecture, name, `Config`).

    Raises:
      CheckpointError: the weights, or their constructor, are of another network than the config's.
      ValueError, FileNotFoundError: the config cannot be loaded.
    """
    keywords = _keywords(constructor)
    if name is None:
        other = SAME_TENSORS.get(architecture)
        sigma = keywords.get("init_gauss_sigma")
        is_other = other is not None and _same(sigma, _label_sigma(other))
        name = NAMES[other if is_other else architecture]
    config = config_lib.load(name)
    architecture = meant(architecture, config.model)
    _check(config, architecture, keywords)
    return architecture, name, config


def meant(architecture, model) -> str:
    """`architecture`, or the one of the same tensors whose label `model` (a `ModelConfig`) has."""
    other = SAME_TENSORS.get(architecture)
    sigma = model.predictor.init_label_sigma_cells
    return other if other is not None and _same(sigma, _label_sigma(other)) else architecture


def _label_sigma(name) -> float:
    return config_lib.load(name).model.predictor.init_label_sigma_cells


def _keywords(constructor) -> dict:
    """The arguments in a pickled constructor; none if there is no constructor."""
    state = constructor.state if type(constructor) is Opaque else None
    keywords = state.get("kwds") if isinstance(state, dict) else None
    return keywords if isinstance(keywords, dict) else {}


def _same(given, wanted) -> bool:
    if isinstance(given, float) and isinstance(wanted, float):
        return abs(given - wanted) <= 1e-6
    return given == wanted


def _check(config, architecture, keywords):
    """Refuses weights that `config` would build a different network for."""
    model = config.model
    is_tracker = architecture in TRACKERS
    expected = TRACKERS[architecture][0] if is_tracker else architecture
    if model.backbone != expected:
        raise CheckpointError(
            f"the weights are of {architecture}, but the config has backbone {model.backbone!r}: "
            f"choose another --config, e.g. {NAMES[architecture]}"
        )
    if not is_tracker:
        return
    blocks, channels = {"resnet18": (1, 256), "resnet50": (0, 512)}[expected]
    if (model.clf_blocks, model.clf_channels, model.iou_channels) != (blocks, channels, 256):
        raise CheckpointError(
            f"the weights are of {architecture}, but the config has clf_blocks={model.clf_blocks}, "
            f"clf_channels={model.clf_channels}, iou_channels={model.iou_channels}: expected "
            f"{blocks}, {channels}, 256"
        )
    learned_maps = TRACKERS[architecture][1]
    objective = model.predictor.objective
    if learned_maps == (objective == "kl"):
        raise CheckpointError(
            f"the weights are of {architecture}, but the config has "
            f"model.predictor.objective={objective!r}: choose another --config, e.g. "
            f"{NAMES[architecture]}"
        )
    for name, path in CONSTRUCTOR_FIELDS.items():
        wanted = config
        for key in path:
            wanted = getattr(wanted, key)
        given = keywords.get(name, wanted)
        if not _same(given, wanted):
            raise CheckpointError(
                f"looks like another network with the tensors of {architecture}: its constructor "
                f"has {name}={given!r:.80}, the config {'.'.join(path)}={wanted!r}; if that is "
                "meant, give a --config that agrees"
            )
