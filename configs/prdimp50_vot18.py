"""PrDiMP-50 with the online parameters used for VOT2018: a filter update at every frame, no loss.

python evaluate.py configs/prdimp50_vot18.py --checkpoint CONVERTED
"""

import dataclasses

from dimp_jax import config


def get_config() -> config.Config:
    prdimp50, vot18 = config.load("prdimp50"), config.load("dimp50_vot18").tracker
    tracker = dataclasses.replace(
        vot18,
        memory=dataclasses.replace(
            vot18.memory,
            learning_rate=0.01,
            train_interval=1,
            update_iterations=1,
            hard_negative_iterations=1,
        ),
        # The scores as they are, and neither distractors nor hard negatives.
        localize=dataclasses.replace(
            vot18.localize, distractor_threshold=99999.0, hard_negative_threshold=999999.0
        ),
        refine=prdimp50.tracker.refine,
    )
    return dataclasses.replace(prdimp50, tracker=tracker)
