"""Holds how a registered model is trained: its clips, their split by group, the epochs, and what is kept of them."""

from worker.training.request import TrainRequest
from worker.training.session import train

__all__ = ["TrainRequest", "train"]
