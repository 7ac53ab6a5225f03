"""The demo: draw clips, train a network with and one without temporal modules, test both, recognize a clip."""

from teinet.demo.job import Result, run_demo

__all__ = ["Result", "run_demo"]
