"""The costs of networks as a picture: bars of time over TSN's, with the spread over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from teinet.benchmark.contenders import label
from teinet.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from teinet.benchmark.networks import Cost

_COLOURS = {"tsn": "#868e96", "tsm": "#e8590c", "tim": "#7048e8", "teinet": "#0b7285"}
_OTHER = "#c2255c"
_TITLES = {
    "latency": "one clip, milliseconds",
    "throughput": "many clips, milliseconds each",
    "training": "one training step, milliseconds",
}


def draw_costs(costs: Sequence[Cost], *, title: str, batch_sizes: dict[str, int]) -> Figure:
    """A panel for each measure, a bar for each network: its time, with the ratio to TSN written beside it.

    Returns:
        A matplotlib Figure that belongs to no window and no global state.

    Raises:
        ConfigError: no network was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    good = [cost for cost in costs if cost.seconds]
    measures = [m for m in _TITLES if any(m in cost.seconds for cost in good)]
    if not measures:
        raise ConfigError("no network was measured, so there is nothing to draw")
    figure = Figure(figsize=(5.2 * len(measures) + 1.6, 1.2 + 0.3 * len(good)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axis, measure in zip(axes, measures):
        for place, cost in enumerate(good):
            spread = cost.time(measure)
            if spread is None:
                continue
            clips = batch_sizes[measure] if measure == "throughput" else 1
            middle, low, high = (1e3 * value / clips for value in spread)
            colour = _COLOURS.get(cost.contender.network, _OTHER)
            axis.barh(place, middle, xerr=[[middle - low], [high - middle]], color=colour, ecolor="#343a40", height=0.7,
                      error_kw={"linewidth": 1, "capsize": 2})  # fmt: skip
            ratio = cost.ratio(measure)
            text = f"{middle:.4g}" + ("" if ratio is None else f"   {ratio.median:.2f} x TSN")
            axis.text(high, place, f"  {text}", va="center", fontsize=8)
        axis.set_title(_TITLES[measure], fontsize=9)
        axis.set_xlim(right=axis.get_xlim()[1] * 1.3)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_yticks(range(len(good)), [label(cost.contender) for cost in good])
    axes[0].invert_yaxis()
    return figure
