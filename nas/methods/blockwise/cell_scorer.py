"""Scoring of cells: the distance of each path to its training target, on held-out images."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from nas.data import Batches, Dataset, Split
from nas.errors import SpaceError
from nas.methods.blockwise.blocks import Cell, Path, Piece
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.options import BOSSNAS
from nas.methods.blockwise.target import Maps, Reader, Target, recalibrated
from nas.methods.blockwise.training import FixedEntry, run_entry
from nas.methods.prefix_tree import PrefixTree
from nas.ops import Shape
from nas.training import Recipe

BATCH = 64


class CellScorer:
    """Measures the distances of all paths of cells to their target.

    BatchNorm statistics are recalibrated once per path, on training images. Paths share the computation of their common
    prefix: the prefix tree of a cell's paths is walked depth first, with the same results as each path alone.

    Args:
        recalibration_images, validation_images: Number of training and of search-validation images to use.
    """

    def __init__(
        self,
        supernet: BlockSupernet,
        data: Dataset,
        recipe: Recipe,
        *,
        target: Target,
        recalibration_images: int,
        validation_images: int,
        seed: int = 0,
    ) -> None:
        self.supernet, self.data, self.recipe, self.target, self.seed = supernet, data, recipe, target, seed
        self._splits = (
            data.train.first(recalibration_images),
            data.search_validation.first(validation_images),
        )
        self._leading: dict[Cell, dict[Cell, list[int]]] = {}
        for cell, paths in supernet.blocks.cells.items():
            for number, path in enumerate(paths):
                following = supernet.blocks.entered(cell, path)
                if following is not None:
                    self._leading.setdefault(following, {}).setdefault(cell, []).append(number)

    def distances(self, cell: Cell, *, entry: FixedEntry | None = None) -> list[float]:
        """Returns a distance per path of the cell.

        Args:
            entry: The paths that lead to the cell; None samples them per batch, with the same result in every process.
        """
        return self.beside(cell, (), entry=entry)[0]

    @torch.no_grad()
    def beside(
        self, cell: Cell, others: Sequence[Path], *, entry: FixedEntry | None = None
    ) -> tuple[list[float], list[float]]:
        """Returns the distances of the cell's paths, and of other paths to the target that the cell's paths define.

        The distance of another path thus depends only on the cell's own paths.

        Args:
            others: Paths from the cell's input that were not sampled for it, for which `lacks` returns None.
        """
        supernet = self.supernet
        own, net = supernet.blocks.cells[cell], supernet.net(cell.block)
        with self.recipe.autocast():
            (known, _), (asked, goals) = (self._entered(cell, split, entry) for split in self._splits)
            every, shape = [*own, *others], supernet.shapes[cell]
            readings = [_walk(reader, every, shape, known, asked, goals) for reader in self.target.readers(net)]
        found = self.target.distances(readings, len(own))
        return found[: len(own)], found[len(own) :]

    @torch.no_grad()
    def lacks(self, cell: Cell, path: Path) -> str | None:
        """Returns which weights of a path are missing, since no sampled path has them; None if there are all."""
        weights = self.target.readers(self.supernet.net(cell.block))[0].weights
        try:
            for _ in weights.modules_of(path.pieces, self.supernet.shapes[cell]):
                pass
        except SpaceError as fault:
            return str(fault)
        return None

    def _entered(self, cell: Cell, split: Split, entry: FixedEntry | None) -> tuple[Maps, Maps]:
        """Returns the input maps of the cell, per batch and view, and the teacher's maps for its block."""
        data = self.data
        batches = Batches(
            split,
            batch_size=BATCH,
            mean=data.mean,
            std=data.std,
            drop_last=True,  # batch statistics are meaningless for a last batch of one image
            device=self.recipe.device,
        )
        found: Maps = []
        goals: Maps = []
        for k, (images, _) in enumerate(batches):
            chain = self._drawn(cell, random.Random(f"entry-{self.seed}-{cell}-{k}")) if entry is None else entry
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + k)
            views = self.target.measured_views(images, generator)
            found += [run_entry(self.supernet, chain, view) for view in views]
            goals += self.target.goals(images)[cell.block : cell.block + 1]
        return found, goals

    def _drawn(self, cell: Cell, rng: random.Random) -> list[tuple[Cell, int]]:
        """Samples paths that lead to a cell: from it back to the image, an earlier cell, then one of its paths."""
        chain: list[tuple[Cell, int]] = []
        while cell in self._leading:
            before = rng.choice(list(self._leading[cell]))
            chain.append((before, rng.choice(self._leading[cell][before])))
            cell = before
        return chain[::-1]


def path_scores(kind: str, distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
    """Returns scores of the paths of one cell, to be summed over cells; higher is better.

    Args:
        kind: "standardized", or "bossnas": the negated distances.
        others: Distances to score instead, relative to the cell's own `distances`.
    """
    if kind == BOSSNAS:
        return [-each for each in (distances if others is None else others)]
    return standardized(distances, others)


def standardized(distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
    """Returns scores of the paths of one cell: the negated distances, with mean 0 and standard deviation 1.

    Scores of different cells can then be summed. If all distances are equal (or there is only one), they are 0.

    Args:
        others: Distances to score instead, with the mean and deviation of `distances`.
    """
    values = torch.tensor(distances, dtype=torch.float64)
    asked = values if others is None else torch.tensor(others, dtype=torch.float64)
    spread = float(values.std(correction=0))
    if spread <= 1e-12 * float(values.abs().max()):
        return [0.0] * len(asked)
    return [float(value) for value in (values.mean() - asked) / spread]


def _walk(
    reader: Reader,
    paths: Sequence[Path],
    shape: Shape,
    recalibration: Maps,
    validation: Maps,
    goals: Maps,
) -> list[torch.Tensor]:
    """Returns the reading of every path."""
    root = PrefixTree[Piece].of(path.pieces for path in paths)
    found: dict[int, torch.Tensor] = {}

    def visit(tree: PrefixTree[Piece], shape: Shape, known: Maps, asked: Maps) -> None:
        if tree.ends:
            found.update(dict.fromkeys(tree.ends, reader.read(known, asked, goals)))
        for piece, branch in tree.branches.items():
            [module] = reader.weights.modules_of([piece], shape)
            visit(branch, module.shape, *recalibrated(module, known, asked))

    visit(root, shape, recalibration, validation)
    return [found[number] for number in range(len(paths))]
