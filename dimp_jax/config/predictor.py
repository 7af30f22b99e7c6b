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

    #: The label: which score is wanted at which distance from the target.
    label: PartMode = "shared"
    #: The mask: where scores count as they are (1), and where only positive ones do (0).
    mask: PartMode = "shared"
    weight: PartMode = "shared"  #: The spatial weight: how much an error counts at which distance.
    filter_reg: PartMode = "shared"  #: The weight of the regulariser, as its root.
    log_step_length: PartMode = "shared"  #: The factor on the step length, as its logarithm.


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLConfig:
    """The Kullback-Leibler objective (PrDiMP)."""

    normalize_label: bool = True  #: Divide the label density by its sum over the score map.
    label_threshold: float = 0.0  #: Label densities up to this are 0.
    label_uniform_share: float = 0.0  #: Share of a uniform density that is mixed into the label.
    label_shrink: float = 0.0  #: Share of the label's mass that is taken away.
    #: The logit of "nothing is here", one more in the softmax; None: there is none.
    softmax_reg: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """The iterative model predictor and its meta-learned loss (paper, section 3).

    `solver`, `objective` and `adjoint` are names of predictor/parts.py, or "module:function" of
    another package (docs/guides/extending.md).
    """

    #: How the filter is fitted: `steepest_descent`, `gradient_descent`, `momentum`,
    #: `conjugate_gradient`, `newton`, `initializer_only`, or "module:function".
    solver: str = "steepest_descent"
    #: What it is fitted to: `hinge` (DiMP), `l2`, `kl` (PrDiMP), or "module:function".
    objective: str = "hinge"
    #: How the training's gradient passes back through the iterations: `unrolled`, `checkpointed`,
    #: `truncated`, `one_step`, `implicit`, or "module:function".
    adjoint: str = "unrolled"
    truncate_every: int = 1  #: Iterations between two cuts of the gradient; "truncated" only.
    implicit_iterations: int = 100  #: Most iterations of conjugate gradients; "implicit" only.
    implicit_tolerance: float = 1e-5  #: Relative residual at which these stop; "implicit" only.
    #: Learned parameters of a solver of your own: name, and the number to begin with or the
    #: "module:function" that makes an array of this config.
    solver_parameters: tuple[tuple[str, float | str], ...] = ()
    #: The same for an objective of your own.
    objective_parameters: tuple[tuple[str, float | str], ...] = ()
    #: Keyword arguments of the solver that are not learned.
    solver_options: tuple[tuple[str, int | float | str], ...] = ()
    #: Keyword arguments of the objective that are not learned.
    objective_options: tuple[tuple[str, int | float | str], ...] = ()
    #: Keyword arguments of the adjoint.
    adjoint_options: tuple[tuple[str, int | float | str], ...] = ()
    learned: LearnedParts = LearnedParts()  #: How each part of the loss is learned.
    #: How each of `solver_parameters` and `objective_parameters` is learned; "shared" where nothing
    #: is said.
    learned_own: tuple[tuple[str, PartMode], ...] = ()

    num_iter: int = 5  #: Iterations in training; the tracker has its own numbers (`MemoryConfig`).
    num_bins: int = 100  #: Basis functions of label, mask and spatial weight.
    bin_width_cells: float = 0.1  #: Distance between two of them, in cells of the score map.
    init_step_length: float = 0.9  #: Initial factor on the step length.
    init_filter_reg: float = 0.1  #: Initial root of the regulariser's weight.
    min_filter_reg: float = 1e-3  #: Least root of the regulariser's weight.
    #: Standard deviation of the initial label, a Gaussian; of the fixed label of `l2` and `kl`,
    #: too.
    init_label_sigma_cells: float = 0.9
    #: Factor in the initial mask, before its activation: factor * tanh(2 - distance in cells).
    init_mask_factor: float = 3.0
    #: How negative scores outside the mask are cut off: at once ("relu"), or smoothly.
    score_activation: Literal["relu", "bentpar"] = "relu"
    bentpar_b: float = 1.0  #: How smoothly; "bentpar" only.
    #: What keeps the mask in 0..1; "linear": nothing does.
    mask_activation: Literal["sigmoid", "linear"] = "sigmoid"
    alpha_eps: float = 0.0  #: Damping: added to the regulariser's weight in the step length only.
    #: Label below which only positive scores count; objective `l2` only.
    l2_hinge_threshold: float = 0.05
    kl: KLConfig = KLConfig()  #: Options of the objective `kl`.
