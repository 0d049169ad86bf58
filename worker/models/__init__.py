"""Holds the classifiers Flowcert can certify, and how their weights become a module that is safe to certify."""

from worker.models.load import LoadedModel, check_forward, load_model
from worker.models.registry import MODELS, build, find_factory
from worker.models.weights import WeightsInfo, inspect_weights, save_weights

__all__ = [
    "MODELS",
    "LoadedModel",
    "WeightsInfo",
    "build",
    "check_forward",
    "find_factory",
    "inspect_weights",
    "load_model",
    "save_weights",
]
