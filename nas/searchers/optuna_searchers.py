"""Optuna's NSGA-II and TPE as searchers, through ask and tell in memory.

At the start of every batch the study is created again from our trials and the sampler is seeded from the search's
seed and the batch's number. What Optuna suggested on the way and we refused (infeasible or known architectures)
therefore steers the rest of its batch and is then forgotten: a resumed search cannot know it. The first trials are
sampled by layout, since of Optuna's own random suggestions hardly any are feasible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.architecture import Architecture
from nas.budget import Cost
from nas.sampling.budget_sampler import BudgetSampler
from nas.searchers.searcher import START, History, Proposal, Round
from nas.spaces import ABSENT, Genotype, SearchSpace, StageChoice
from nas.trial import Trial

NSGA2_PARENTS = 24
MISSES = 3
"""Proposals in a row without a usable suggestion, after which the rest of a batch is random."""

Picks: TypeAlias = "Callable[[str], Any]"


class Parameters:
    """The genotypes of a space as Optuna parameters.

    Names are `stem.width`, `stage1.op`, `stage1.width`, `stage1.depth`, and `stage1.C.kernel_size` for an op's own
    choices; in a stage with a choice per layer `stage1.layer2.op` and `stage1.layer2.C.kernel_size`. Values are places
    in the list of what may be chosen: whole numbers where these are numbers in order, categories otherwise. A parameter
    with one value only is left out.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.values: dict[str, tuple[Any, ...]] = {f"stem.{name}": values for name, values in space.stem.choices}
        for i, stage in enumerate(space.stages, start=1):
            if not stage.per_layer:
                self.values[f"stage{i}.op"] = tuple(stage.letters)
            self.values[f"stage{i}.width"] = stage.widths
            self.values[f"stage{i}.depth"] = stage.depths
            for k in range(stage.depths[-1] if stage.per_layer else 1):
                place = f"stage{i}.layer{k + 1}" if stage.per_layer else f"stage{i}"
                there = stage.ops_at(k) if stage.per_layer else stage.ops
                self.values[f"{place}.op"] = tuple(op.letter for op in there)
                for op in there:
                    choices = op.choices_at(k) if stage.per_layer else op.choices
                    self.values |= {f"{place}.{op.letter}.{name}": values for name, values in choices}
        self.distributions: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1) if _ordered(values) else _categories(values)
            for name, values in self.values.items()
            if len(values) > 1
        }

    def genotype(self, pick: Picks) -> Genotype:
        """Returns the genotype that a pick per parameter gives; `pick` is called for what it uses alone."""
        stem = tuple(pick(f"stem.{name}") for name, _ in self.space.stem.choices)
        depths = self._depths([pick(f"stage{i}.depth") for i in range(1, len(self.space.stages) + 1)])
        stages = []
        for i, (stage, depth) in enumerate(zip(self.space.stages, depths, strict=True), start=1):
            if not depth:
                stages.append(ABSENT)
                continue
            # A stage whose width follows from the one before it has none of its own to choose.
            width_in = next((gene.width for gene in reversed(stages) if gene.depth), self.space.stem.width(stem))
            width = width_in * stage.width_multiplier if stage.width_multiplier else pick(f"stage{i}.width")
            picked: list[tuple[str, tuple[Any, ...]]] = []
            for k in range(depth if stage.per_layer else 1):
                place = f"stage{i}.layer{k + 1}" if stage.per_layer else f"stage{i}"
                op = stage.op(pick(f"{place}.op"))
                choices = op.choices_at(k) if stage.per_layer else op.choices
                picked.append((op.letter, tuple(pick(f"{place}.{op.letter}.{name}") for name, _ in choices)))
            params = tuple(own for _, own in picked) if stage.per_layer else picked[0][1]
            stages.append(StageChoice("".join(letter for letter, _ in picked), width, depth, params))
        return Genotype(stem, tuple(stages))

    def places(self, genotype: Genotype) -> dict[str, int]:
        """Returns the values of the parameters that a genotype uses."""
        chosen = {f"stem.{name}": v for (name, _), v in zip(self.space.stem.choices, genotype.stem, strict=True)}
        for i, (stage, gene) in enumerate(zip(self.space.stages, genotype.stages, strict=True), start=1):
            chosen[f"stage{i}.depth"] = gene.depth
            if not gene.depth:
                continue
            if not stage.width_multiplier:
                chosen[f"stage{i}.width"] = gene.width
            for k, (letter, params) in enumerate(
                zip(gene.op, gene.params, strict=True) if stage.per_layer else [(gene.op, gene.params)]
            ):
                place = f"stage{i}.layer{k + 1}" if stage.per_layer else f"stage{i}"
                op = stage.op(letter)
                choices = op.choices_at(k) if stage.per_layer else op.choices
                chosen[f"{place}.op"] = letter
                chosen |= {f"{place}.{letter}.{name}": v for (name, _), v in zip(choices, params, strict=True)}
        return {name: self.values[name].index(v) for name, v in chosen.items() if name in self.distributions}

    def _depths(self, depths: list[int]) -> list[int]:
        """Returns the picked depths, fixed where a rule is about them all: hardly any picked alone would keep it."""
        space = self.space
        if space.contiguous:
            depths = _one_run(depths)
        while space.total_depth and sum(depths) not in space.total_depth:
            wanted = min(space.total_depth, key=lambda total: abs(total - sum(depths)))
            ways = [
                (abs(sum(depths) - depth + other - wanted), abs(depth - other), i, other)
                for i, depth in enumerate(depths)
                for other in space.stages[i].depths
                if depth and other and other != depth
            ]
            best = min(ways, default=None)
            if best is None or best[0] >= abs(sum(depths) - wanted):
                break
            depths = [best[3] if i == best[2] else depth for i, depth in enumerate(depths)]
        return depths

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Returns what Optuna suggests for one parameter."""
        distribution = self.distributions.get(name)
        if distribution is None:
            return self.values[name][0]
        if isinstance(distribution, IntDistribution):
            return self.values[name][trial.suggest_int(name, distribution.low, distribution.high)]
        return self.values[name][trial.suggest_categorical(name, tuple(range(len(self.values[name]))))]


class OptunaSearch:
    """A searcher that asks an Optuna sampler, and proposes what the rules allow.

    Args:
        origin: The label of its proposals.
        tries: Suggestions per proposal before a random architecture takes its place.
        both: Whether the objective is minimized beside maximizing the score, or the score alone counts.
        make: Makes a sampler from a seed and the number of observed trials.
        whole: Whether every trial has all parameters, those of ops that it does not use included.
        attributes: Optuna's own notes that every observed trial carries.
    """

    def __init__(
        self,
        history: History,
        *,
        objective: str,
        origin: str,
        tries: int,
        both: bool,
        make: Callable[[int, int], BaseSampler],
        whole: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self._history, self._objective = history, objective
        self._origin, self._tries, self._both, self._make, self._whole = origin, tries, both, make, whole
        self._attributes = attributes or {}
        self._parameters = Parameters(history.sampler.space)
        self._rebuilt: dict[Architecture, FrozenTrial | None] = {}

    def tell(self, trials: Iterable[Trial]) -> None:
        self._history.tell(trials)

    def ask(self, n: int, batch: int) -> list[Proposal]:
        opened = self._history.round(n, batch)
        observed = [frozen for frozen in map(self._frozen, opened.earlier) if frozen is not None]
        if len(observed) >= START and not opened.full:
            study, misses = self._study(observed, opened.rng.getrandbits(32)), 0
            while not opened.full and misses < MISSES:
                misses = 0 if self._offer_suggestion(study, opened) else misses + 1
                if misses:
                    opened.offer_random()
        return opened.fill()

    def _study(self, observed: list[FrozenTrial], seed: int) -> optuna.Study:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study
        try:
            directions = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)[: 2 if self._both else 1]
            study = optuna.create_study(directions=directions, sampler=self._make(seed, len(observed)))
        finally:
            optuna.logging.set_verbosity(verbosity)
        study.add_trials(observed)
        return study

    def _offer_suggestion(self, study: optuna.Study, opened: Round) -> bool:
        for _ in range(self._tries):
            trial = study.ask()
            genotype = self._suggested(trial)
            member = self._history.locate_genotype(genotype)
            if member is None:
                for name, value in self._constraints(genotype).items():
                    trial.set_constraint(name, value)
                # Infeasible, and never scored. What is known already stays pending like what is proposed, which TPE
                # takes as a reason to look elsewhere.
                study.tell(trial, state=TrialState.PRUNED)
            elif opened.offer(member, self._origin):
                return True
        return False

    def _suggested(self, trial: optuna.Trial) -> Genotype:
        suggest = self._parameters.suggest
        picked = {name: suggest(trial, name) for name in self._parameters.values} if self._whole else {}
        return self._parameters.genotype(lambda name: picked[name] if self._whole else suggest(trial, name))

    def _constraints(self, genotype: Genotype, cost: Cost | None = None) -> dict[str, float]:
        """Returns by how much a genotype breaks the space's rules, else those of the budget; feasible up to 0."""
        sampler = self._history.sampler
        broken = sampler.space.broken(genotype)
        if broken:
            return {"rules": float(broken)}
        return {"rules": 0.0, **sampler.feasible.violations(cost or sampler.cost(genotype))}

    def _frozen(self, trial: Trial) -> FrozenTrial | None:
        """Returns a trial of ours as Optuna's; None if it failed, lacks the objective or lies outside the space."""
        if trial.architecture not in self._rebuilt:
            self._rebuilt[trial.architecture] = self._freeze(trial)
        return self._rebuilt[trial.architecture]

    def _freeze(self, trial: Trial) -> FrozenTrial | None:
        genotype = self._history.genotype(trial.architecture)
        cost = trial.cost.value(self._objective)
        if genotype is None or trial.score is None or cost is None:
            return None
        places = self._parameters.places(genotype)
        distributions = self._parameters.distributions
        if self._whole:
            # Which values an architecture's unused parameters had is not in its record: any, but always the same.
            rng = random.Random(repr(places))
            unused = {n: rng.randrange(len(self._parameters.values[n])) for n in distributions}
            places = unused | places
        return create_trial(
            values=[trial.score, float(cost)] if self._both else [trial.score],
            params=places,
            distributions={name: distributions[name] for name in places},
            system_attrs=dict(self._attributes),  # Optuna writes into it
            constraints=self._constraints(genotype, trial.cost),
        )


def nsga2(
    sampler: BudgetSampler,
    *,
    seed: int,
    objective: str = "macs",
    presets: Sequence[Architecture] = (),
) -> OptunaSearch:
    """Optuna's NSGA-II (Deb et al. 2002) on score and cost.

    It inherits only parameters that all trials have, hence `whole`: with an op's own choices conditional on the op
    they would be random for every child. All trials so far count as its first generation, so that parents
    are always the best of all trials and no generation is ever incomplete.
    """
    return OptunaSearch(
        History(sampler, seed=seed, presets=presets),
        objective=objective,
        origin="nsga2",
        tries=50,
        both=True,
        # It breeds only once a generation is as large as its population.
        make=lambda number, observed: NSGAIISampler(population_size=min(NSGA2_PARENTS, observed), seed=number),
        whole=True,
        attributes={"NSGAIISampler:generation": 0},
    )


def tpe(
    sampler: BudgetSampler,
    *,
    seed: int,
    objective: str = "macs",
    presets: Sequence[Architecture] = (),
) -> OptunaSearch:
    """Optuna's TPE (Watanabe 2023, arXiv:2304.11127), on the score; without a least share to use, on cost as well."""
    return OptunaSearch(
        History(sampler, seed=seed, presets=presets),
        objective=objective,
        origin="tpe",
        tries=12,
        both=sampler.feasible.min_share == 0,
        make=lambda number, _: TPESampler(seed=number, multivariate=True),
    )


def _one_run(depths: list[int]) -> list[int]:
    """Returns the run of present stages with the most layers; all other stages are made absent."""
    runs: list[list[int]] = [[]]
    for i, depth in enumerate(depths):
        if depth:
            runs[-1].append(i)
        elif runs[-1]:
            runs.append([])
    kept = max(runs, key=lambda run: sum(depths[i] for i in run))
    return [depth if i in kept else 0 for i, depth in enumerate(depths)]


def _categories(values: tuple[Any, ...]) -> CategoricalDistribution:
    return CategoricalDistribution(tuple(range(len(values))))


def _ordered(values: tuple[Any, ...]) -> bool:
    return all(type(v) in (int, float) for v in values) and list(values) == sorted(values)
