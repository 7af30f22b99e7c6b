"""Every option of the model predictor and its default; they are `config.ModelConfig.predictor`."""

import dataclasses
from typing import Literal

# A part of the loss is learned, with one value for all iterations ("shared", as in the paper) or
# with one for each ("per_iteration"); or "fixed": as it was loaded, without a gradient; or
# "initial": at its initial value, whatever was loaded.
PartMode = Literal["shared", "per_iteration", "fixed", "initial"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnedParts:
    """What of the loss is meta-learned (paper, sections 3.3 and 3.4)."""

    label: PartMode = "shared"
    mask: PartMode = "shared"
    weight: PartMode = "shared"
    filter_reg: PartMode = "shared"
    log_step_length: PartMode = "shared"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLConfig:
    """The Kullback-Leibler objective (PrDiMP)."""

    normalize_label: bool = True
    label_threshold: float = 0.0  # densities up to it are 0
    label_uniform_share: float = 0.0
    label_shrink: float = 0.0  # share of the label's mass that is taken away
    softmax_reg: float | None = None  # one more logit, of "nothing is here"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """The iterative model predictor and its meta-learned loss (paper, section 3).

    `solver`, `objective` and `adjoint` are names of predictor/parts.py, or "module:function" of
    another package (docs/guides/extending.md).
    """

    solver: str = "steepest_descent"
    objective: str = "hinge"
    # How the training's gradient passes back through the iterations.
    adjoint: str = "unrolled"
    truncate_every: int = 1  # iterations; "truncated" only
    implicit_iterations: int = 100  # conjugate gradients; "implicit" only
    implicit_tolerance: float = 1e-5
    # Learned parameters of the solver or of the objective beside the usual ones: name, and a number
    # to begin with, or the "module:function" that makes an array of this config.
    solver_parameters: tuple[tuple[str, float | str], ...] = ()
    objective_parameters: tuple[tuple[str, float | str], ...] = ()
    # What is not learned: keyword arguments of these parts.
    solver_options: tuple[tuple[str, int | float | str], ...] = ()
    objective_options: tuple[tuple[str, int | float | str], ...] = ()
    adjoint_options: tuple[tuple[str, int | float | str], ...] = ()
    learned: LearnedParts = LearnedParts()
    # The same for solver_parameters and objective_parameters, which are "shared" otherwise.
    learned_own: tuple[tuple[str, PartMode], ...] = ()

    num_iter: int = 5  # iterations in training; the tracker has its own counts
    num_bins: int = 100  # triangular distance basis of label, mask and spatial weight
    bin_width_cells: float = 0.1
    init_step_length: float = 0.9
    init_filter_reg: float = 0.1
    min_filter_reg: float = 1e-3
    init_label_sigma_cells: float = 0.9
    init_mask_factor: float = 3.0
    score_activation: Literal["relu", "bentpar"] = "relu"
    bentpar_b: float = 1.0
    mask_activation: Literal["sigmoid", "linear"] = "sigmoid"
    alpha_eps: float = 0.0  # added to the regulariser in the step length only
    l2_hinge_threshold: float = 0.05  # of the objective "l2"
    kl: KLConfig = KLConfig()
