"""The whole main job on embedded data: draw clips, train with and without time, test, recognize, show."""

from teinet.demo.job import Result, run_demo

__all__ = ["Result", "run_demo"]
