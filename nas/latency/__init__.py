"""Latencies on this machine: runtimes, and measuring in turn with a reference workload."""

from nas.latency.measuring import Latency, measure, measure_together

__all__ = ["Latency", "measure", "measure_together"]
