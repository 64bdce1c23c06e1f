"""A search space: what may vary in a network, as values; membership, exact size, drawing, variation."""

from nas.spaces.choices import OpChoice, StageSpace, StemSpace
from nas.spaces.decision_graph import END, START, Edge, Graph, Node
from nas.spaces.genotype import ABSENT, Genotype, LayerChoice, StageChoice
from nas.spaces.search_space import MANY, OpRules, SearchSpace, present_stages

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
    "present_stages",
]
