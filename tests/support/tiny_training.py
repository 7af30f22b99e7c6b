"""`tiny_config`, with ResNets of one narrow block a level: a config for processes of their own."""

from tests.support import small_training
from tests.support.tiny_config import get_config

__all__ = ["get_config"]
small_training.shrink_resnet()
