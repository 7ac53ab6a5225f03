"""The views of a test; they live with the data, because a recogniser cuts its videos by the same function."""

from teinet.data.views import Averaging, LoadedViews, Views, average_views, load_views

__all__ = ["Averaging", "LoadedViews", "Views", "average_views", "load_views"]
