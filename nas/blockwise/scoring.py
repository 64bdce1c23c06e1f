"""How far each path of a cell is from the cell's population centre, on images that nothing was trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.blockwise.network import BlockNet, BlockSupernet
from nas.blockwise.training import FixedEntry, run_entry
from nas.data import Batches, Dataset, Split
from nas.errors import SpaceError
from nas.ops import Shape
from nas.space.blocks import Cell, Path, Piece
from nas.training import Recipe

_BATCH = 64
Maps = list[torch.Tensor]


class CellScorer:
    """Scores all paths of cells by the target networks, as BossNAS does (Li et al. 2021, arXiv:2103.12424).

    The centre is the mean over the paths of their projections, scaled to length one; a path's distance is the mean over
    the images of the squared distance of its projection to the centre. Lower is better.

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
        recalibration_images: int,
        validation_images: int,
        seed: int = 0,
    ) -> None:
        self.supernet, self.data, self.recipe, self.seed = supernet, data, recipe, seed
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
            entry: The paths that lead to it; None draws others for every batch, the same in every process.
        """
        return self.beside(cell, (), entry=entry)[0]

    @torch.no_grad()
    def beside(
        self, cell: Cell, others: Sequence[Path], *, entry: FixedEntry | None = None
    ) -> tuple[list[float], list[float]]:
        """The distances of the cell's paths, and of other paths from the same centre, in which these have no part.

        So the distance of another path depends on no path but those of the cell.

        Args:
            others: Paths from the cell's map that were not drawn for it; `lacks` says which there are weights for.
        """
        supernet = self.supernet
        own = supernet.blocks.cells[cell]
        with self.recipe.autocast():
            recalibration, validation = (self._entered(cell, split, entry) for split in self._splits)
            projections = _walk(
                supernet.net(cell.block), [*own, *others], supernet.shapes[cell], recalibration, validation
            )
        centre = torch.stack(projections[: len(own)]).mean(0)
        found = [float(((each - centre) ** 2).sum(1).mean()) for each in projections]
        return found[: len(own)], found[len(own) :]

    @torch.no_grad()
    def lacks(self, cell: Cell, path: Path) -> str | None:
        """Which weights of a path there are not, as none of the paths that were drawn has them; None for no such."""
        net = self.supernet.net(cell.block)
        try:
            for _ in net.target.modules_of(path.pieces, self.supernet.shapes[cell]):
                pass
        except SpaceError as fault:
            return str(fault)
        return None

    def _entered(self, cell: Cell, split: Split, entry: FixedEntry | None) -> Maps:
        """The maps that the cell starts from, batch by batch."""
        data = self.data
        batches = Batches(
            split,
            batch_size=_BATCH,
            mean=data.mean,
            std=data.std,
            drop_last=True,  # BatchNorm by the batch at hand makes no sense for a rest of one image
            device=self.recipe.device,
        )
        found = []
        for k, (images, _) in enumerate(batches):
            chain = self._drawn(cell, random.Random(f"entry-{self.seed}-{cell}-{k}")) if entry is None else entry
            found.append(run_entry(self.supernet, chain, images))
        return found

    def _drawn(self, cell: Cell, rng: random.Random) -> list[tuple[Cell, int]]:
        """Paths that lead to a cell: an earlier cell uniformly, then one of its paths, back to the image."""
        chain: list[tuple[Cell, int]] = []
        while cell in self._leading:
            before = rng.choice(list(self._leading[cell]))
            chain.append((before, rng.choice(self._leading[cell][before])))
            cell = before
        return chain[::-1]


def standardised(distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
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


class _Tree:
    """Paths by what they begin with."""

    def __init__(self) -> None:
        self.branches: dict[Piece, _Tree] = {}
        self.ends: list[int] = []


def _walk(
    net: BlockNet, paths: Sequence[Path], shape: Shape, recalibration: Maps, validation: Maps
) -> list[torch.Tensor]:
    """The projections of every path, scaled to length one: (images, features) in float64."""
    root = _Tree()
    for number, path in enumerate(paths):
        tree = root
        for piece in path.pieces:
            tree = tree.branches.setdefault(piece, _Tree())
        tree.ends.append(number)
    found: dict[int, torch.Tensor] = {}

    def visit(tree: _Tree, shape: Shape, known: Maps, asked: Maps) -> None:
        if tree.ends:
            projected = _through(net.target_projector, known, asked)[1]
            vectors = F.normalize(torch.cat(projected).double(), dim=1).cpu()
            found.update(dict.fromkeys(tree.ends, vectors))
        for piece, branch in tree.branches.items():
            [module] = net.target.modules_of([piece], shape)
            visit(branch, module.shape, *_through(module, known, asked))

    visit(root, shape, recalibration, validation)
    return [found[number] for number in range(len(paths))]


def _through(module: Any, known: Maps, asked: Maps) -> tuple[Maps, Maps]:
    """Both sets of maps through a module whose BatchNorm statistics are made on the first."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.train()
    known = [module(x) for x in known]
    module.eval()
    asked = [module(x) for x in asked]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return known, asked
