"""What has to be on a machine with a certain device, such as measuring latencies: an actor pinned to such a node."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import OptionError, RunError
from nas.executors.code_version import program, refusal
from nas.executors.pool import START_S
from nas.executors.ray.session import in_short, raise_told
from nas.networks.imported_ops import ImportedFile, import_files, imported_files

_WAIT_S = 5.0


class DeviceActor:
    """Holds what was made on its node."""

    def __init__(self, make: Callable[[], Any], expected: dict[str, str], imports: tuple[ImportedFile, ...]) -> None:
        self._make, self._expected, self._imports, self._made = make, expected, imports, None

    def prepare(self) -> str | None:
        """Makes it; returns why that cannot be."""
        refused = refusal(self._expected)
        if refused is not None:
            return refused
        import_files(self._imports)
        self._made = self._make()
        return None

    def call(self, name: str, given: tuple[Any, ...], more: dict[str, Any]) -> Any:
        return getattr(self._made, name)(*given, **more)


class There:
    """Something on another node: a method that is called here runs there.

    Args:
        check: Raises if the cluster is gone.
    """

    def __init__(self, actor: Any, check: Callable[[], None]) -> None:
        self._actor, self._check = actor, check

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given, **more: self.answer(self._actor.call.remote(name, given, more))

    def answer(self, asked: Any, within_s: float | None = None) -> Any:
        """Waits for an answer of the actor.

        Raises:
            NasError: What was raised there; a `RunError` if its process is lost, or gives none in time.
        """
        waited = 0.0
        while not ray.wait([asked], timeout=_WAIT_S)[0]:
            self._check()
            waited += _WAIT_S
            if within_s is not None and waited >= within_s:
                raise RunError(
                    f"The node with the device has had no room for {within_s:.0f} s: measuring takes all of its CPUs. "
                    "Wait until it is idle, then try again."
                )
        try:
            return ray.get(asked)
        except RayError as fault:
            raise_told(fault)
            raise RunError(
                f"What ran on the node with the device was lost: {in_short(fault)} Go on with --resume."
            ) from None


@contextmanager
def on_a_node_with(
    device: str, make: Callable[[], Any], fits: Callable[[Any], bool], check: Callable[[], None]
) -> Generator[Any, None, None]:
    """Gives what `make` makes on the first node that it fits, with all CPUs of that node, so that nothing disturbs it.

    Args:
        device: "cuda" or "cuda:N".
        check: Raises if the cluster is gone.

    Raises:
        OptionError: If there is no such node.
    """
    gpus = int(device.partition(":")[2] or 0) + 1
    resources = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    for node in sorted(each for each, its in resources.items() if its.get("GPU", 0.0) >= gpus):
        asked: dict[str, Any] = {"num_cpus": resources[node].get("CPU", 0.0), "num_gpus": gpus, "max_restarts": 0}
        pinned = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        kind: Any = ray.remote(**asked)(DeviceActor)
        actor = kind.options(scheduling_strategy=pinned).remote(make, program(), imported_files())
        try:
            there = There(actor, check)
            refused = there.answer(actor.prepare.remote(), START_S)
            if refused is not None:
                raise RunError(f"Workers cannot be used: {refused}")
            if fits(there):
                yield there
                return
        finally:
            ray.kill(actor)
    raise OptionError(f"No node of the cluster has the device {device} that is asked for. Add one, or leave --ray out.")
