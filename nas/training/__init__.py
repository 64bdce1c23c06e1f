"""Training: recipes, the loop, the supernet's strategies, single networks, checkpoints, evaluation."""

from nas.training.evaluation import evaluate, recalibrate
from nas.training.initial_weights import Started, start_from
from nas.training.recipe import Recipe, learning_rate_for
from nas.training.standalone import fresh_network, train_network
from nas.training.supernet import ArchitectureSource, SupernetTraining, layout_weights

__all__ = [
    "ArchitectureSource",
    "Recipe",
    "Started",
    "SupernetTraining",
    "evaluate",
    "fresh_network",
    "layout_weights",
    "learning_rate_for",
    "recalibrate",
    "start_from",
    "train_network",
]
