"""How far each path of a cell is from what it was taught to give, on images that nothing was trained on."""

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

_BATCH = 64


class CellScorer:
    """Measures how far all paths of cells are from their target.

    BatchNorm statistics are made once per path, from training images. Paths that begin alike share these, and all else
    up to where they part: the tree of a cell's paths is walked depth first, which gives what walking every path alone
    would give.

    Args:
        recalibration_images, validation_images: How many of the training and of the search-validation images are used.
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
        """A distance per path of the cell.

        Args:
            entry: The paths that lead to it; None samples others for every batch, the same in every process.
        """
        return self.beside(cell, (), entry=entry)[0]

    @torch.no_grad()
    def beside(
        self, cell: Cell, others: Sequence[Path], *, entry: FixedEntry | None = None
    ) -> tuple[list[float], list[float]]:
        """The distances of the cell's paths, and of other paths from the same target, to which these do not contribute.

        So the distance of another path depends on no path but those of the cell.

        Args:
            others: Paths from the cell's map that were not sampled for it; `lacks` says which there are weights for.
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
        """Which weights of a path there are not, as none of the sampled paths has them; None for no such."""
        weights = self.target.readers(self.supernet.net(cell.block))[0].weights
        try:
            for _ in weights.modules_of(path.pieces, self.supernet.shapes[cell]):
                pass
        except SpaceError as fault:
            return str(fault)
        return None

    def _entered(self, cell: Cell, split: Split, entry: FixedEntry | None) -> tuple[Maps, Maps]:
        """The maps that the cell starts from, batch by batch and view by view, and what a teacher would have its block
        make of them.
        """
        data = self.data
        batches = Batches(
            split,
            batch_size=_BATCH,
            mean=data.mean,
            std=data.std,
            drop_last=True,  # BatchNorm by the batch at hand makes no sense for a rest of one image
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
        """Paths that lead to a cell: an earlier cell uniformly, then one of its paths, back to the image."""
        chain: list[tuple[Cell, int]] = []
        while cell in self._leading:
            before = rng.choice(list(self._leading[cell]))
            chain.append((before, rng.choice(self._leading[cell][before])))
            cell = before
        return chain[::-1]


def path_scores(kind: str, distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
    """Scores of the paths of one cell, to be added up over cells; higher is better.

    Args:
        kind: "standardized", or "bossnas": the distances turned round, as they are.
        others: Distances to give scores instead, beside the cell's own `distances`.
    """
    if kind == BOSSNAS:
        return [-each for each in (distances if others is None else others)]
    return standardized(distances, others)


def standardized(distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
    """Scores of the paths of one cell: their distances turned round, with mean 0 and standard deviation 1.

    Paths of different cells can be added up then. Where all are alike (or alone), the scores are 0.

    Args:
        others: Distances to give scores instead, by the mean and the deviation of `distances`.
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
