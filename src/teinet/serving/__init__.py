"""Recognizers behind HTTP: predictions batched over requests, timelines as jobs, live events, limits."""

from teinet.serving.app import ServedModel, create_app
from teinet.serving.limits import Limits

__all__ = ["Limits", "ServedModel", "create_app"]
