"""Starting a search from a parent: it is fine-tuned, fills the supernet, and teaches all that is trained afterwards."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import torch

from nas.architecture import Architecture
from nas.costs import cost
from nas.data import Batches, DataInfo, Dataset
from nas.errors import OptionError, RunError
from nas.formats import count
from nas.jobs.training import Beginnings
from nas.methods.protocol.context import Context
from nas.methods.protocol.parent_line import parent_accuracies
from nas.methods.protocol.plan import FINALISTS, Planned, Workload, within
from nas.methods.supernet.distillation import MEMBERS, StageDistillation
from nas.methods.supernet.parent import Parent, as_member
from nas.methods.supernet.plans import ParentPlan, SupernetPlan, TrainingMembers
from nas.methods.supernet.scaled import scaled
from nas.networks.inheritance.couplings import couplings, permute
from nas.networks.inheritance.filling import cut, fill
from nas.networks.inheritance.importance import Orders, by_magnitude, by_taylor
from nas.networks.inheritance.layers import by_change, changes
from nas.networks.network import Network, build
from nas.networks.supernet import Supernet
from nas.run.events import DistillationEpoch, ParentEpoch, ParentInherited, ParentTested, ParentTuned
from nas.sampling import BudgetSampler
from nas.training import evaluate, train_network
from nas.training.checkpoint import load_checkpoint, newest, size_on_disk
from nas.training.supernet import watching

PHASE, LAYERS = "parent", "distillation"
"""Its phases before the supernet's training."""
PARENT, SCALED = "parent", "scaled"
"""Names of rivals: the parent itself, and the parent scaled to the budget."""
SECONDS = 3600.0
"""Least time that a search from a parent is planned for."""
_SHARES = {"parent": 0.1, "layers": 0.1, "training": 0.45, "search": 0.1, "finalists": 0.35}
_BATCHES, _BATCH = 8, 32
"""Training images that importance and the changes of layers are measured on."""
_CLOSE = 1e-3
"""Float32's rounding is 4e-5 at most in the networks that were tried; other units than free ones change far more."""


class Inheritance:
    """A run's parent, and all that begins with it.

    Args:
        importance: "magnitude" or "taylor".
        tuned: Whether it was trained on the run's data already.
    """

    def __init__(self, parent: Parent, *, importance: str, tuned: bool) -> None:
        self.parent, self._importance, self.is_tuned = parent, importance, tuned
        self._network: Network | None = None
        self._ordered: dict[str, torch.Tensor] | None = None
        self._changes: list[str] = []

    # -- before the search ---------------------------------------------------------------------------------------

    def planned(self, workload: Workload, sampler: BudgetSampler, own: SupernetPlan) -> Planned:
        """Plans epochs and trials for the time that the search may take: an hour, or more where the data are many."""
        options = workload.options
        asked: Any = options.of_method()
        seconds = workload.seconds
        trial_seconds = (own.recalibration_images + own.validation_images) / (3 * workload.scoring_rate)
        rng = random.Random(0)
        typical = median(sampler.sample(rng).cost.macs for _ in range(9))
        # Larger networks use a machine better, as in `images_per_second`.
        ratio = (cost(as_member(self.parent.architecture, sampler.space)).macs / typical) ** 0.8
        taught = 1 + ratio / 3  # the teacher's forward pass, beside a network's forward and backward passes

        learns = self._learns_layers(asked.layer_epochs, sampler)
        whole = sum(share for part, share in _SHARES.items() if learns or part != "layers")

        def epochs(part: str, each: float, least: int, most: int) -> int:
            share = _SHARES[part] / whole
            return within(int(share * seconds * workload.rate / (workload.images * each)), least, most)

        finalists = options.finalists or FINALISTS
        networks = finalists + workload.rivals_beside
        tuning = 0 if self.is_tuned else asked.parent_epochs or epochs("parent", ratio, 3, 30)
        training = asked.epochs or epochs("training", 3 + taught, 2, 60)
        finalist_epochs = options.finalist_epochs or epochs("finalists", taught * networks, 3, 30)
        learning = ratio / 3 + MEMBERS  # at most: the parent's forward pass, and stages of members
        layers = (asked.layer_epochs or epochs("layers", learning, 2, 30)) if learns else 0
        spent = workload.images / workload.rate
        tuning_seconds = (tuning + 2 * workload.validating) * ratio * spent
        every = max(1, training // 8)
        watched = watching(epochs=training, every=every, images=workload.images, held_out=workload.held_out)
        changed = {"strategy": "sandwich", "epochs": training, "watch_every": every}
        return Planned(
            own=ParentPlan(**{**asdict(own), **changed, "parent_epochs": tuning, "layer_epochs": layers}),
            before={PHASE: tuning_seconds, **({LAYERS: layers * learning * spent} if layers else {})},
            training_seconds=training * (3 + taught) * spent + watched / workload.rate,
            trial_seconds=trial_seconds,
            trials=within(round(_SHARES["search"] / whole * seconds / trial_seconds), 24, 240),
            finalists=(finalists, finalist_epochs),
            epoch_cost=taught,
            shared_seconds=tuning_seconds,
        )

    def _learns_layers(self, asked: int | None, sampler: BudgetSampler) -> bool:
        """Returns whether layers that the parent does not have learn its stages: where there are some.

        Args:
            asked: Epochs in which they are to; 0 for not at all.

        Raises:
            OptionError: If epochs are asked for and there are none.
        """
        if asked == 0:
            return False
        member = as_member(self.parent.architecture, sampler.space)
        with torch.device("meta"):
            supernet = Supernet(sampler.space, choices=sampler.feasible_choices(), any_layers=True)
            filled = fill(supernet, member, Network(member.to_dict()).state_dict(), {})
        if any(map(_in_a_stage, filled.fresh)):
            return True
        if asked:
            raise OptionError(
                f"--layer-epochs {asked}: within the budget, {sampler.space.name} has no layers that "
                f"{self.parent.named} lacks. Leave it out."
            )
        return False

    def check_data(self, info: DataInfo) -> None:
        """Refuses data of other classes where the parent is said to be trained on them.

        Raises:
            OptionError: If so.
        """
        if self.is_tuned and self.parent.changes(info):
            has, architecture = self.parent.named, self.parent.architecture
            raise OptionError(
                f"{has} --parent-is-tuned: it is of {architecture.input.channels} channels and "
                f"{architecture.num_classes:,} classes, and the data has {info.channels} and {info.num_classes:,}, or "
                "other names for them. Leave out --parent-is-tuned."
            )
        self.parent.check_channels(info.channels)
        self._changes = self.parent.changes(info)

    def describe(self, plan: ParentPlan, sampler: BudgetSampler) -> list[str]:
        """Returns lines on the parent: what becomes of it, and whether the budget is above it."""
        spent = cost(as_member(self.parent.architecture, sampler.space))
        said = f"Parent: {spent.macs / 1e6:,.1f} MMACs, {spent.params / 1e6:,.2f} M parameters; "
        tuning = f"fine-tuned for {count(plan.parent_epochs, 'epoch')}" if plan.parent_epochs else "taken as it is"
        lines = [said + tuning, *self._changes]
        if plan.layer_epochs:
            lines.append(f"Layers that it does not have learn its stages for {count(plan.layer_epochs, 'epoch')}")
        for budget in sampler.budgets:
            value = spent.value(budget.metric)
            if value is not None and value <= budget.bound:
                lines.append(f"{budget} is above the parent, so that it is only a ceiling")
        return lines

    def adapted(self, data: Dataset) -> Dataset:
        """Returns the data with the parent's normalization, as far as known."""
        parent = self.parent
        self._changes = parent.changes(data.info)
        if len(parent.mean) != data.info.channels or len(parent.std) != data.info.channels:
            return data
        return replace(data, mean=parent.mean, std=parent.std)

    def rivals(self, sampler: BudgetSampler) -> dict[str, Architecture]:
        """Returns the parent if it is within the budgets, else the parent scaled to them by a width multiplier."""
        member = as_member(self.parent.architecture, sampler.space)
        if sampler.cost_within(member) is not None:
            return {PARENT: member}
        found = scaled(member, sampler)
        return {} if found is None else {SCALED: found}

    def disk(self, sampler: BudgetSampler, *, epochs: int) -> tuple[int, int]:
        """Returns the bytes of the parent's trained weights, and the most bytes while it is fine-tuned."""
        if not epochs:
            return 0, 0
        with torch.device("meta"):
            network = Network(as_member(self.parent.architecture, sampler.space).to_dict())
        weights, whole = (size_on_disk(network, moments=moments) for moments in (0, 2))
        # A recipe may keep an average of the weights in each of up to three checkpoints, and the best epoch's weights.
        return 2 * weights, 3 * (whole + weights) + weights

    # -- the phases ----------------------------------------------------------------------------------------------

    def tune(self, context: Context, *, epochs: int) -> Network:
        """Returns the parent, fine-tuned on the run's data from its last checkpoint on; records its accuracies."""
        if self._network is None:
            self._network = self._tuned(context, epochs=epochs)
        return self._network

    def inherit(self, context: Context, supernet: Supernet, *, epochs: int) -> tuple[str, ...]:
        """Fills a supernet that is not trained yet with the parent's weights, and records how.

        Returns:
            The names of its tensors that have nothing of the parent.
        """
        filled = fill(supernet, self.member(context), self._in_order(context, epochs), self._kept_layers(context))
        if context.run.last(ParentInherited) is None:
            of_others = f", {len(filled.fresh):,} are of layers that it does not have and start at random"
            context.progress.note(
                f"Parent: {filled.inherited:,} of the supernet's tensors have its weights"
                + of_others * bool(filled.fresh)
            )
            context.run.append(
                ParentInherited(
                    importance=self._importance,
                    kept_layers={str(stage): places for stage, places in supernet.kept_layers.items()},
                    inherited=filled.inherited,
                    fresh=len(filled.fresh),
                )
            )
        return filled.fresh

    def distil(self, context: Context, supernet: Supernet, members: TrainingMembers, *, plan: ParentPlan) -> None:
        """Teaches the parent's stages to layers that it does not have, from the last checkpoint on."""
        run, options, epochs = context.run, context.options, plan.layer_epochs
        fresh = self.inherit(context, supernet, epochs=plan.parent_epochs)
        parent = build(self.member(context))
        parent.load_state_dict(self._in_order(context, plan.parent_epochs))
        distillation = StageDistillation(
            supernet,
            members,
            parent,
            [place for place, depth in enumerate(self._depths(context)) if depth],
            fresh,
            context.data,
            context.plan.recipe(epochs=epochs, seed=options.seed),
            folder=run.path / LAYERS,
        )
        recorded = {event.epoch for event in run.events(DistillationEpoch)}

        def on_epoch(epoch: int, error: float, seconds: float) -> None:
            if epoch not in recorded:
                run.append(DistillationEpoch(epoch=epoch, epochs=epochs, error=error, seconds=seconds))
            context.progress.note(f"Layers that the parent does not have, epoch {epoch} of {epochs}: error {error:.3f}")

        distillation.run(context.progress, on_epoch)

    def kept_layers(self, context: Context) -> dict[int, list[int]]:
        """Returns `Supernet.kept_layers` as it was recorded."""
        event = context.run.last(ParentInherited)
        assert event is not None, "recorded before the supernet's first checkpoint"
        return {int(stage): [*places] for stage, places in event.kept_layers.items()}

    def beginnings(
        self, context: Context, finalists: Sequence[Architecture], supernet: Supernet, folder: Any, *, epochs: int
    ) -> Beginnings:
        """Returns the weights that finalists begin with, and the parent as their teacher.

        Members of the space have the supernet's weights; the scaled parent has the parent's, its most important units;
        a rival of the zoo begins at random.

        Args:
            supernet: As it is built for the search.
            folder: Where its checkpoints are.
        """
        network = self.tune(context, epochs=epochs)
        self._test(context, network)
        supernet.kept_layers = self.kept_layers(context)
        file = newest(folder)
        if file is None:
            raise RunError(f"{folder} has no checkpoint of the supernet: start a new run.")
        load_checkpoint(file, supernet)
        found: dict[str, Mapping[str, torch.Tensor]] = {}
        rivals = {each.digest: name for name, each in context.rivals.items()}
        for each in finalists:
            if rivals.get(each.digest) in (PARENT, SCALED):
                small = each.at_resolution(context.plan.train_resolution)
                found[each.digest] = cut(self._in_order(context, epochs), self.member(context), small)
            elif each.digest not in rivals:
                found[each.digest] = supernet.extract(each).state_dict()
        teacher = self.member(context), {name: value.cpu() for name, value in network.state_dict().items()}
        return Beginnings(weights=found, teacher=teacher)

    # -- inside --------------------------------------------------------------------------------------------------

    def member(self, context: Context) -> Architecture:
        """The parent as a member of the space, at the training resolution."""
        return as_member(self.parent.architecture, context.space).at_resolution(context.plan.train_resolution)

    def _tuned(self, context: Context, *, epochs: int) -> Network:
        run, plan, data, options = context.run, context.plan, context.data, context.options
        architecture = self.member(context)
        network = self.parent.network(data.info, resolution=plan.train_resolution, seed=options.seed).to(plan.device)
        recipe = context.network_recipe(cost(architecture).params, epochs=max(1, epochs))
        if epochs:
            recorded = {event.epoch for event in run.events(ParentEpoch)}

            def on_epoch(row: dict[str, Any]) -> None:
                if row["epoch"] not in recorded:
                    run.append(ParentEpoch(epoch=row["epoch"], epochs=epochs, loss=row["loss"], seconds=row["seconds"]))

            validation = train_network(
                network,
                data,
                recipe,
                progress=context.progress,
                phase="parent",
                folder=run.path / PHASE,
                metric=options.metric,
                on_epoch=on_epoch,
            )
        else:
            validation = evaluate(network, data.search_validation, data, recipe, metric=options.metric)
        network.eval()
        if run.last(ParentTuned) is None:
            last = run.last(ParentEpoch)  # a recipe's patience may have ended it before
            spent = cost(as_member(self.parent.architecture, context.space))
            run.append(
                ParentTuned(
                    config=self.parent.given[0],
                    epochs=0 if last is None else last.epoch,
                    validation_accuracy=validation,
                    macs=spent.macs,
                    params=spent.params,
                )
            )
        context.progress.note(f"Parent: search-validation {validation:.4f}; it is the teacher from now on")
        return network

    def _test(self, context: Context, network: Network) -> None:
        """Records the parent's accuracy on the test split, once: the finalists are chosen by now."""
        run, data, metric = context.run, context.data, context.options.metric
        if parent_accuracies(run)[1] is None:
            recipe = context.plan.recipe(epochs=1, seed=context.options.seed)
            run.append(ParentTested(test_accuracy=evaluate(network, data.test, data, recipe, metric=metric)))

    def _in_order(self, context: Context, epochs: int) -> dict[str, torch.Tensor]:
        """The parent's weights with the most important units first, checked to give the same output."""
        if self._ordered is None:
            network = self.tune(context, epochs=epochs)
            state = dict(network.state_dict())
            groups, unknown = couplings(self.member(context))
            if unknown:
                context.progress.note(f"Parent: what passes through {', '.join(unknown)} keeps its order")
            orders: Orders = (
                by_magnitude(groups, dict(network.named_parameters()))
                if self._importance == "magnitude"
                else by_taylor(groups, dict(network.named_parameters()), self._gradients(context, network))
            )
            permute(state, orders)
            self._check(context, network, state)
            self._ordered = state
        return self._ordered

    def _check(self, context: Context, network: Network, state: dict[str, torch.Tensor]) -> None:
        # On the CPU: a GPU's TF32 alone changes the output by a hundredth when sums change their order.
        here, x = copy.deepcopy(network).cpu(), next(iter(self._images(context)))[0][:4].cpu()
        with torch.no_grad():
            before = here(x)
            after = torch.func.functional_call(here, {name: value.cpu() for name, value in state.items()}, (x,))
        deviation = float((after - before).abs().max() / before.abs().max().clamp_min(1e-12))
        assert deviation < _CLOSE, f"the parent's units are not free to move: its output changes by {deviation:.1e}"

    def _kept_layers(self, context: Context) -> dict[int, list[int]]:
        assert self._network is not None, "fine-tuned before"
        x = next(iter(self._images(context)))[0]
        return by_change(context.space, self._depths(context), changes(self._network, x))

    def _depths(self, context: Context) -> list[int]:
        """The parent's layers in each stage of the space; 0 where it leaves out a stage."""
        return [gene.depth for gene in context.space.encode(as_member(self.parent.architecture, context.space)).stages]

    def _gradients(self, context: Context, network: Network) -> list[dict[str, torch.Tensor]]:
        """The gradients of the loss on each of a few batches of training images; the network stays as it is."""
        network = copy.deepcopy(network).requires_grad_(True)  # as the teacher it has none
        recipe = context.plan.recipe(epochs=1, seed=context.options.seed)
        found: list[dict[str, torch.Tensor]] = []
        for images, labels in self._images(context):
            network.zero_grad()
            with recipe.autocast():
                logits = network(images)
            torch.nn.functional.cross_entropy(logits.float(), labels).backward()
            found.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
        return found

    def _images(self, context: Context) -> Batches:
        data = context.data
        split = data.train.first(_BATCHES * _BATCH)
        return Batches(split, batch_size=_BATCH, mean=data.mean, std=data.std, device=context.plan.device)


def _in_a_stage(name: str) -> bool:
    return name.startswith("stage")
