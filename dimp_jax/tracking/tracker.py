"""The front door: weights, configuration and compiled programs in one object."""

import dataclasses

import jax
import numpy as np

from dimp_jax.config import Config
from dimp_jax.host import compilation
from dimp_jax.models import winograd_layers
from dimp_jax.models.dimp import fold
from dimp_jax.tracking import online, programs, weights
from dimp_jax.tracking.augment import num_samples
from dimp_jax.tracking.online import Network
from dimp_jax.tracking.state import TrackerState, TrackResult


@dataclasses.dataclass(frozen=True)
class Tracker:
    """`state = tracker.init(image, box)`, then `state, result = tracker.step(state, image)`."""

    config: Config  #: of the network and of the tracking
    network: Network  #: parameters, and the compiled programs that take them
    notice: str | None = None  #: what the user should know about the weights

    def __repr__(self):
        model = self.config.model
        return (
            f"Tracker({model.backbone}, checkpoint={self.config.checkpoint!r}, "
            f"notice={self.notice!r})"
        )

    def init(self, image, box_xywh, seed: int | None = None) -> TrackerState:
        """Learns the target from one box.

        Args:
          image: uint8 RGB [H, W, 3].
          box_xywh: x, y, w, h in pixels, 0-based.
          seed: the only source of randomness: the same one gives the same boxes, bit for bit. None:
            `config.seed`.

        Raises:
          ValueError: another kind of image, or a box that cannot be tracked.
        """
        key = jax.random.key(self.config.seed if seed is None else seed)
        return online.init(self.network, self.config.tracker, image, box_xywh, key)

    def step(self, state: TrackerState, image) -> tuple[TrackerState, TrackResult]:
        """Tracks one frame.

        Args:
          state: from `init` or an earlier `step`; it stays valid, and can be used again.
          image: uint8 RGB of the first frame's size.

        Returns:
          (next state, `TrackResult`).

        Raises:
          ValueError: another kind or size of image.
        """
        return online.step(self.network, self.config.tracker, state, image)

    def detailed_step(
        self, state: TrackerState, image
    ) -> tuple[TrackerState, TrackResult, online.Details]:
        """As `step`, with what it saw and did: score maps, features, crops, losses of the update.

        Returns:
          (next state, `TrackResult`, `online.Details`).
        """
        return online.detailed_step(self.network, self.config.tracker, state, image)

    def warmup(self) -> None:
        """Compiles every program this tracker can need, on a blank image.

        Shapes depend on the config alone, so nothing is compiled in any sequence after this. It is
        kept for the next process (`compilation.enable_cache`).
        """
        compilation.enable_cache()
        config, network = self.config.tracker, self.network
        image = np.zeros((64, 64, 3), np.uint8)
        state = self.init(image, (16, 16, 32, 32))
        state, _, details = self.detailed_step(state, image)
        for insert, num_iter in online.learning_variants(config.memory):
            network.programs.learn(
                network.params,
                state.filt,
                state.memory,
                details.look.feat,
                details.look.box_xywh,
                np.float32(config.memory.learning_rate),
                insert=insert,
                num_iter=num_iter,
            )


def build(config: Config, *, portable: bool = False) -> Tracker:
    """Loads the weights that `config` names and readies a tracker.

    Without a trained IoU network the tracker compares scales instead, and says so in `notice`. Its
    programs are kept for the next process (`host.traced`).

    Args:
      portable: kernels keep the form that every backend runs well, for programs that run elsewhere.

    Raises:
      FileNotFoundError, ValueError: no weights, weights of another architecture, or a memory that
        has no room for the samples of the first frame.
    """
    size, needed = config.tracker.memory.size, num_samples(config.tracker.augment)
    if size < needed:
        raise ValueError(
            f"tracker.memory.size={size}: expected at least {needed}, the samples of the first "
            "frame (tracker.augment)"
        )
    variables, notice = weights.load(config)
    if notice is not None:
        refine = dataclasses.replace(config.tracker.refine, method="scale_search")
        config = dataclasses.replace(
            config, tracker=dataclasses.replace(config.tracker, refine=refine)
        )
    compilation.enable_cache()
    return Tracker(config, make_network(config, variables, programs.build_kept, portable), notice)


def make_network(
    config: Config, variables, make_programs=programs.build, portable: bool = False
) -> Network:
    """Folds the batch norms, gives kernels the form that is fast here, and binds the programs.

    `portable` keeps the form that every backend runs well: for programs that run elsewhere.
    """
    params = fold(config.model, variables)["params"]
    if not portable:
        params = winograd_layers.transformed(config.model, params)
    # Copied in numpy: `device_put` shares the memory of an array, and jnp.array compiles a copy for
    # every shape.
    params = jax.device_put(jax.tree.map(np.array, params))
    return Network(
        params,
        make_programs(config.model, config.tracker),
        config.model.clf_channels,
        config.model.filter_size_cells,
    )
