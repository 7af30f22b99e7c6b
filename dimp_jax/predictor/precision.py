"""How exactly matrix products and convolutions are computed, on every device.

By default TPUs round the operands of a float32 product to bfloat16, and GPUs (Ampere and later) to
TF32: 7 and 10 of the 23 bits of the mantissa. The policy of this project:

* The predictor (objectives, solvers, adjoints), target and label maps, the exact pooling of boxes,
  and what the studies compute of them: `EXACT`, always. They are few of the operations, and step
  lengths, gradients and `Solve.optimality` are not what they claim without it.
* The network: as `model.matmul_precision` of the config says (`models/layers.Numerics`).
* Boxes and losses are arithmetic by elements, which every device does in float32.

Each product names its precision, and derivatives take over that of the product they are of.
docs/guides/precision.md says what the network's setting costs.
"""

import jax

EXACT = jax.lax.Precision.HIGHEST
