"""`nas search`, also `nas-search`: the main job, its dry run, and resuming a stopped run."""

from __future__ import annotations

import argparse
import random
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import Budget, check_budgets, format_quantity
from nas.budget_metrics import METRICS
from nas.cli.console import Console, plain, table
from nas.cli.interrupts import end_at_once
from nas.cli.parsing import add_declared, add_method_options, import_files, methods_text, reader, searchers_text
from nas.cli.results import FINAL, result_lines
from nas.errors import OptionError, RunError
from nas.executors import check_cluster, check_workers
from nas.formats import listing
from nas.options import SearchOptions, flag, method_of
from nas.options.config_file import imports_in, read_config
from nas.options.kinds import Text

if TYPE_CHECKING:
    from nas.data import Source
    from nas.jobs.backend import Backend
    from nas.methods.protocol.plan import Plan
    from nas.pipeline.search import SearchResult
    from nas.spaces import SearchSpace

DESCRIPTION = """\
Search a space for the best networks within a budget, train the top ones, and export
each as a folder that does not depend on this package: config, plain torch code, weights, ONNX.

  nas-search --space coatnet-small --budget 5MFLOPs --data path/to/images
  nas-search --space coatnet --budget 4.2GFLOPs --dry-run
  nas-search --parent tf_efficientnet_lite0 --weights lite0.safetensors --budget 200MFLOPs --data D
  nas-search --resume runs/coatnet-small-2030-01-31-1
  nas-search --config nas.yaml --seed 1          # `nas config > nas.yaml` writes one to edit

Only --space (or --parent) and --budget are required; everything else is planned for the machine and
the data. FLOPs are multiply-adds, as in papers of the field. All options: docs/options.md."""
_WORKERS = ("workers", "ray", "job_timeout", "gpus_per_worker", "cpu_workers")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options of a search, as declared by `nas.options.SearchOptions` and the methods."""
    add_declared(parser, SearchOptions, [name for names in SearchOptions.typed().values() for name in names])
    add_method_options(parser)
    parser.add_argument(
        "--config",
        type=reader("config", Text()),
        metavar="FILE",
        help="YAML file with any of these options; the command line wins (`nas config` writes one)",
    )
    what = parser.add_argument_group("instead of a search")
    what.add_argument(
        "--resume", type=reader("resume", Text()), metavar="DIR", help="continue the stopped run in DIR, or at a URL"
    )
    what.add_argument("--dry-run", action="store_true", help="show size and costs of the space, and what fits")
    parser.epilog = f"{methods_text()}\n\n{searchers_text()}"


def run(args: argparse.Namespace, console: Console) -> None:
    """Reads the options, then searches, resumes a run, or does a dry run."""
    given = dict(vars(args))
    dry, resumed = given.pop("dry_run", False), given.pop("resume", None)
    if resumed is not None:
        workers = {name: given.pop(name) for name in _WORKERS if name in given}
        _resume(resumed, workers, [*given, *(["dry_run"] if dry else [])], console)
        return
    config = given.pop("config", None)
    if config is not None:
        import_files(given.get("imports") or imports_in(Path(config)))
        given = {**read_config(Path(config)), **given}
    source = method_of(given)[1].data_run
    if source is not None and "data" not in given:
        from nas.run import data_of

        given["data"] = data_of(source)
    options, budgets = read_options(given, needs_budget=not dry)
    if not dry:
        check_workers(options)
        check_cluster(options)
    space = _load_space(options)
    if dry:
        _dry_run(space, budgets, options, console, source=_open(options) if "data" in given else None)
        return
    from nas.pipeline.search import search
    from nas.run.remote import is_url, run_folder

    url = options.out if options.out is not None and is_url(options.out) else None
    with run_folder(options.out, space.name, console.note) as folder:
        options = replace(options, out=str(folder))
        console.watch(folder, url=url)
        with _backend(options, console) as backend:
            found = search(
                space, budgets=budgets, data=options.data, options=options, progress=console.progress, backend=backend
            )
    _show(found, console, url)


def read_options(given: dict[str, Any], *, needs_budget: bool) -> tuple[SearchOptions, tuple[Budget, ...]]:
    """Returns the options of a search, checked as far as possible without the space or the data.

    Raises:
        OptionError, BudgetError: If an option is missing or wrong.
    """
    # Wrong options are reported before missing ones, since the user has just typed them.
    budgets = check_budgets(given.get("budgets", ()))
    if "space" not in given and method_of(given)[1].derives_from is None:
        raise OptionError("--space is missing: give a name such as --space coatnet (`nas spaces` lists them).")
    if needs_budget and not budgets:
        raise OptionError("--budget is missing: give one such as --budget 4.2GFLOPs (or --dry-run to see what fits).")
    options = SearchOptions.of(**given)
    options.validate()
    return options, budgets


def _load_space(options: SearchOptions) -> SearchSpace:
    if options.space is None:
        derived = options.of_method().derived_space()
        assert derived is not None, "checked before"
        return derived
    from nas.spaces import catalog

    catalog.find(options.space)  # checks the name before torch is imported
    from nas.networks.loading import load_space

    return load_space(options.space)


def _resume(path: str, workers: dict[str, Any], others: list[str], console: Console) -> None:
    if others:
        name = "budget" if others[0] == "budgets" else others[0]
        raise OptionError(f"--resume uses the run's own options: leave out {flag(name)}.")
    from nas.run.remote import is_url, resumed_folder

    url = path if is_url(path) else None
    with resumed_folder(path, console.note) as folder:
        found = _resumed(folder, url, workers, console)
    _show(found, console, url)


def _resumed(folder: Path, url: str | None, workers: dict[str, Any], console: Console) -> SearchResult:
    from nas.run import read_run

    manifest = read_run(folder).manifest  # checks the run before torch is imported
    kept = manifest.get("options", {})
    chosen = elsewhere(kept, workers)
    if _is_address(chosen.get("ray")) and "ray" not in workers:
        # Whoever wrote the run may not be trusted, and a cluster's head can run programs on all who join.
        named = shlex.quote(str(kept["ray"]))
        raise OptionError(
            f"{url or folder} used the Ray cluster at {named}: give --ray {named} to use it again, or --workers 0 to "
            "go on in this process."
        )
    if manifest.get("imports"):  # methods and searchers of one's own have options too
        from nas.networks.imported_ops import recorded_imports

        recorded_imports(manifest)
    try:
        options = SearchOptions.from_dict(chosen)
    except OptionError as fault:
        raise OptionError(f"{url or folder} cannot be resumed: {fault}") from None
    from nas.pipeline.search import resume

    console.watch(folder, url=url)
    with _backend(options, console) as backend:
        return resume(folder, progress=console.progress, backend=backend)


@contextmanager
def _backend(options: SearchOptions, console: Console) -> Generator[Backend | None, None, None]:
    """Opens the backend of a search. If its cluster is lost, the message says how to go on without it."""
    from nas.executors import open_backend
    from nas.executors.head_watch import ClusterError

    def words(lost: str) -> str:
        if console.run is None or not (console.run / "events.jsonl").is_file():
            return f"{lost} Nothing was recorded yet: start again."
        return f"{lost} To go on without it: nas-search --resume {shlex.quote(console.run_name)} --workers 0"

    console.cluster = options.ray if _is_address(options.ray) else None
    try:
        with open_backend(options, console.progress, lambda lost: end_at_once(2, words(lost))) as backend:
            yield backend
    except ClusterError as fault:
        raise RunError(words(str(fault))) from None


def _is_address(ray: object) -> bool:
    """Returns whether `--ray` names a cluster, rather than asks for the one that this machine is a part of."""
    return ray not in (None, "auto")


def elsewhere(kept: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's options for resuming: `--workers 2` without `--ray` means this machine, even after a cluster."""
    if "workers" in given:
        alone = {} if given["workers"] else {"asynchronous": False}  # of what opens workers; the search stays so
        chosen = {**kept, "ray": None, "cpu_workers": 0, **alone, **given}
    else:
        chosen = {**kept, "workers": None, **given} if "ray" in given else {**kept, **given}
    if not chosen.get("workers") and chosen.get("ray") is None:
        chosen |= {name: None for name in ("job_timeout", "gpus_per_worker") if name in kept and name not in given}
    return chosen


# -- the dry run ---------------------------------------------------------------------------------------------


def _open(options: SearchOptions) -> Source:
    from nas.data import open_data

    return open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]


def _dry_run(
    space: SearchSpace,
    budgets: tuple[Budget, ...],
    options: SearchOptions,
    console: Console,
    *,
    source: Source | None,
) -> None:
    from nas.costs import sized_space
    from nas.sampling import BudgetSampler
    from nas.sampling.dry_run import dry_run
    from nas.sampling.infeasible import infeasible, joined

    loaded = space
    if source is not None:  # with the channels and classes of the data, as a search has it
        from nas.data import data_lines, size_lines

        side = options.resolution or space.input.resolution
        space = space.adapted(channels=source.info.channels, num_classes=source.info.num_classes)
        for line in [*data_lines(source.info), *size_lines(source.info, side, options.data), ""]:
            console.say(line)
    if any(budget.metric == "latency_s" for budget in budgets):
        from nas.latency.budgets import hold, restore
        from nas.run import read_run

        saved = options.of_method().data_run
        models = {} if saved is None else read_run(saved).part("device_models")
        restore(models, str(saved))
        sized = sized_space(space, options.resolution)
        hold(budgets, sized, seed=options.seed, progress=console.progress, given=models)
    found = plain(dry_run(space, budgets, options, random.Random(options.seed)))
    outline = _outline(loaded, budgets, options, source) if source is not None and budgets and found["fits"] else None
    console.document(
        {
            "space": {key: found[key] for key in ("name", "digest", "size")},
            "costs": found["costs"],
            "fits": found["fits"],
            "layouts": found["layouts"],
            "exact": found["exact"],
            "data": source and source.info,
            "plan": outline and outline[1].to_dict(),
        }
    )
    pixels, classes = options.resolution or space.input.resolution, space.head.get("num_classes")
    for line in dry_run_lines(found, budgets, f"{pixels} x {pixels} pixels, {classes} classes"):
        console.say(line)
    for line in ["", *outline[0]] if outline else []:
        console.say(line)
    if source is None and budgets:
        console.say("No plan and no time without images: add --data.")
    for budget in budgets:
        costs = found["costs"].get(budget.metric)
        if costs is None or not METRICS[budget.metric].additive:
            continue  # what is measured proves nothing: the samples that are feasible tell, below
        if costs["min"] > budget.bound:
            raise infeasible(space.name, budget, costs["min"])
        if costs["max"] <= budget.bound:
            console.warn(
                f"{budget} is above the largest {space.name} network "
                f"({format_quantity(budget.metric, costs['max'])}): every network fits."
            )
    if not found["fits"]:
        sampler = BudgetSampler(sized_space(space, options.resolution), budgets, min_share=options.min_share)
        sampler.sample(random.Random(options.seed))  # raises with what is known of the smallest
        console.warn(f"No sampled network fits {joined(budgets)}, though a search finds some: they are rare.")


def _outline(
    space: SearchSpace, budgets: tuple[Budget, ...], options: SearchOptions, source: Source
) -> tuple[list[str], Plan]:
    """What the search would do and how long that takes, by the rate that is measured now."""
    from nas.jobs.backend import InThisProcess
    from nas.pipeline.search import SearchPipeline
    from nas.progress import Silent

    return SearchPipeline(space, budgets, options, Silent(), InThisProcess()).outline(source)


def dry_run_lines(found: dict[str, Any], budgets: tuple[Budget, ...], held: str) -> list[str]:
    """Returns the lines of a dry run; `held` is the image size and number of classes as text."""
    costs = [
        [METRICS[metric].noun, *(format_quantity(metric, figures[key]) for key in ("min", "median", "max"))]
        for metric, figures in found["costs"].items()
    ]
    lines = [f"Space {found['name']} ({found['digest']}) at {held}: {found['size']:,} networks", ""]
    lines += table(["", "smallest", "median", "largest"], costs)
    header, rows = ["layout", "networks", "of the space"], []
    for layout, row in found["layouts"].items():
        rows.append([layout, f"{row['size']:,}", percent(row["size"] / found["size"])])
        if budgets:
            rows[-1].append(percent(row["fits"]))
    if budgets:
        lines += ["", f"{_both(budgets)}: {percent(found['fits'])} of the space fits"]
        header.append("fits")
    measured = [METRICS[metric].noun for metric in found["costs"] if not METRICS[metric].additive]
    if not found["exact"]:
        rest = "all other figures" if not measured else "smallest and largest of the others"
        lines.append(f"Medians and shares that fit are estimated from samples; {rest} are exact.")
    if measured:
        lines.append(f"Of {listing(measured)}, smallest and largest are those of sampled networks too.")
    if list(found["layouts"]) == ["*"]:  # letters vary per layer: there are no layouts to list
        return [*lines, "", FINAL]
    return [*lines, "", *table(header, rows), "", FINAL]


def percent(part: float) -> str:
    """Formats a share; "0 %" and "100 %" only if exact."""
    if part in (0, 1):
        return f"{part:.0%}".replace("%", " %")
    if part < 0.0001:
        return "below 0.01 %"
    return f"{100 * part:.2f} %" if part < 0.01 else f"{min(100 * part, 99.9):.1f} %"


def _both(budgets: tuple[Budget, ...]) -> str:
    return " and ".join(str(budget) for budget in budgets)


# -- the result ----------------------------------------------------------------------------------------------


def _show(result: SearchResult, console: Console, url: str | None) -> None:
    found = plain(result)
    winners = found["winners"]
    where = {"run": found["run"]} | ({} if url is None else {"url": url})
    console.document({**where, "ranking": found["ranking"], "winners": winners})
    from nas.networks.imported_ops import imported_files

    for line in result_lines(
        *(found["run"], found["ranking"], winners),
        score_name=found["score_name"],
        objectives=found["objectives"],
        imports=[file.path for file in imported_files()],
        parent=found["parent"],
        data=found["data"],
        seed=found["seed"],
        accuracy=found["accuracy"],
    ):
        console.say(line)
    if url is not None:
        console.say(f"Uploaded  {url}")
