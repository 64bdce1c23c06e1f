"""A search space: what may vary in a network, as values; membership, exact size, drawing, variation."""

from nas.space.automaton import END, START, Edge, Graph, Node
from nas.space.genes import (
    ABSENT,
    Genotype,
    LayerChoice,
    OpChoice,
    StageChoice,
    StageSpace,
    StemSpace,
)
from nas.space.search_space import MANY, OpRules, SearchSpace

__all__ = [
    "ABSENT",
    "END",
    "MANY",
    "START",
    "Edge",
    "Genotype",
    "Graph",
    "LayerChoice",
    "Node",
    "OpChoice",
    "OpRules",
    "SearchSpace",
    "StageChoice",
    "StageSpace",
    "StemSpace",
]
