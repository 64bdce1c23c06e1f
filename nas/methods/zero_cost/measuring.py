"""Zero-cost proxies of many networks, measured side by side where there are workers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import unpack_data
from nas.errors import RunError
from nas.jobs.executor import Job, Result
from nas.jobs.setup import ScoringSetup
from nas.methods.protocol.context import Context
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.methods.zero_cost.scorer import pack_probe


class ProxyTask:
    """A `Task` that measures some proxies of a network; values are in the order of `names`."""

    def __init__(self, values: ProxyValues, names: Sequence[str]) -> None:
        self._values, self._names = values, names

    def run(self, job: Job) -> Result:
        began = time.monotonic()
        found = self._values.values(self._names, Architecture.from_dict(job.architecture))
        values = [found[name] for name in self._names]
        return Result(status="complete", value=values, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProxyMeasuring:
    """The source of a `ProxyTask`, which makes it here or packs it for another process."""

    names: Sequence[str]
    data: Dataset
    seed: int
    device: str

    def make(self) -> ProxyTask:
        """Makes the task in this process."""
        return ProxyTask(ProxyValues(self.data, seed=self.seed, device=self.device), self.names)

    def pack(self) -> ScoringSetup:
        """Returns plain data from which to make the same task, with the few images that the proxies need."""
        return pack_probe(f"{__name__}:unpack", self.data, seed=self.seed, device=self.device, names=list(self.names))


def unpack(setup: ScoringSetup) -> ProxyTask:
    """Re-creates the task from `ProxyMeasuring.pack`."""
    facts = setup.facts
    data = unpack_data(facts["data"], setup.arrays)
    return ProxyMeasuring(names=facts["names"], data=data, seed=facts["seed"], device=facts["device"]).make()


def measured(context: Context, networks: Sequence[Architecture], names: Sequence[str]) -> Iterator[list[float]]:
    """Yields the values of some proxies of each network, in the order of the networks.

    Raises:
        RunError: If a network cannot be measured.
    """
    seed, device = context.options.seed, context.plan.proxy_device
    jobs = [Job(architecture=network.to_dict(), seed=seed) for network in networks]
    source = ProxyMeasuring(names=names, data=context.data, seed=seed, device=device)
    with closing(context.scoring(source)) as executor:
        for network, result in zip(networks, executor.map(jobs), strict=True):
            if result.error is not None:
                raise RunError(f"The proxies of {network.digest} cannot be computed: {result.error}")
            yield result.value
