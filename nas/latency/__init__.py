"""Latencies: runtimes, measuring in turn with a reference workload, and models that predict them."""

from nas.latency.device_model import Device, DeviceModel
from nas.latency.measuring import Latency, measure, measure_together, time_runs

__all__ = ["Device", "DeviceModel", "Latency", "measure", "measure_together", "time_runs"]
