"""The start of a run: a probe, or weights that came with their head, measured, and kept unless training is better."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console

from teinet.errors import ConfigError
from teinet.evaluation.evaluate import ViewClips, evaluate
from teinet.evaluation.plan import trained_on
from teinet.models.checkpoint import keeps_head
from teinet.models.factory import split_name
from teinet.models.header import LAST, read_header
from teinet.probing.probe_job import CAUSAL_HEADS, HEADS, ProbeSettings, fit_again, probe_clips
from teinet.recognition.recognizer import Recognizer
from teinet.training.callbacks import RunState
from teinet.training.custom_dataset import DatasetClips
from teinet.training.module import TrainingModule
from teinet.training.run_dir import BEST
from teinet.training.setup import Parts
from teinet.utils.text import count


def refuse_seen_probe(parts: Parts) -> None:
    """Raise ConfigError at a probe that was fitted on validation clips: only one process fits its head again."""
    header = _answers_at_start(parts)
    if header and "probe" in header and trained_on(header, parts.splits["val"]):
        raise ConfigError(
            f"{parts.recipe.model.weights} was fitted on validation clips, and its head is fitted again by a run of "
            "one device only; train on one, or name other clips (data.val_path)"
        )


def measure_start(parts: Parts, module: TrainingModule, state: RunState, console: Console) -> None:
    """Measure on validation clips what is there before the first step: a probe, or other weights to start from."""
    recipe, splits = parts.recipe, parts.splits
    if recipe.run.probe:
        probed = probe_clips(_probe_settings(parts), splits["train"], splits["val"], console=console)
        _start_from_probe(parts, state, console, probed.recognizer, probed.test_accuracy or 0.0)
        return
    if (header := _answers_at_start(parts)) is None:
        return
    seen = trained_on(header, splits["val"])
    if seen and "probe" in header and not isinstance(parts.data.train, DatasetClips):
        found, top1 = fit_again(
            recipe.model.weights or "",
            splits["train"],
            splits["val"],
            device=parts.hardware.torch_device(),
            workers=parts.data.workers,
            read_timeout=recipe.run.read_timeout,
            console=console,
        )
        _start_from_probe(parts, state, console, found, top1)
        parts.model.head.load_state_dict(found.model.head.state_dict())
        return
    start = evaluate(
        parts.model,
        splits["val"],
        sampling=parts.sampling,
        preprocessing=parts.preprocessing,
        batch_size=recipe.optim.batch_size,
        workers=parts.data.workers,
        read_timeout=recipe.run.read_timeout,
        hardware=parts.hardware,
    )
    if module.multi_label:
        module.thresholds = start.best_thresholds()
    state.start(start.accuracy, module.metric)
    too_good = f", which were trained on {seen} of these {count(len(splits['val']), 'clip')}" if seen else ""
    said = f"val {start.measure} {start.accuracy:.1%} by the weights to start from{too_good}"
    console.print(f"start          {said}", highlight=False, soft_wrap=True)


def weights_to_use(folder: Path) -> tuple[str, str]:
    """Return which weights of a finished run to use, and why in words; the folder, its last ones, and no words."""
    if not (folder / BEST).is_file():
        return str(folder), ""
    best = read_header(folder / BEST)
    scores = best["scores"]
    metric = "val_map" if "val_map" in scores else "val_top1"
    last = read_header(folder / LAST)["scores"].get(metric)
    is_probe = not scores["epoch"] and "probe" in best
    if not is_probe and (last is None or last >= scores[metric]):
        return str(folder), ""
    file = str(folder / BEST)
    by = f"the weights of epoch {scores['epoch']}" if scores["epoch"] else "the weights that training started from"
    if is_probe and best["recipe"]["run"]["probe"]:
        by = "the probe"
    elif is_probe:
        file = best["recipe"]["model"]["weights"]
        by = "its kind of head, fitted on the training clips alone"
    what = "val mAP" if metric == "val_map" else "val top-1"
    said = f"use {file}: {what} {scores[metric]:.1%} by {by}"
    if last is None:
        return file, said
    chance = ", a lead that may be chance with so few clips" if last > scores[metric] else ""
    return file, f"{said}, {last:.1%} by the last weights{chance}"


def _probe_settings(parts: Parts) -> ProbeSettings:
    recipe = parts.recipe
    return ProbeSettings(
        data=recipe.data,
        backbone=split_name(recipe.model.name)[1],
        backbone_weights=recipe.model.backbone_weights,
        causal=recipe.model.causal,
        heads=CAUSAL_HEADS if recipe.model.causal else HEADS,
        shuffles=1,
        seed=recipe.run.seed,
        device=parts.hardware.torch_device(),
        workers=parts.data.workers,
        read_timeout=recipe.run.read_timeout,
    )


def _start_from_probe(parts: Parts, state: RunState, console: Console, probe: Recognizer, top1: float) -> None:
    """Take a probe that was fitted on the training clips as the best weights, unless training beats it clearly."""
    head, fitted_on = (probe.model.config or {})["consensus"], count(len(parts.splits["train"]), "training clip")
    said = f"val top-1 {top1:.1%} by the frozen 2-D network, head {head}, fitted on the {fitted_on}"
    console.print(f"probe          {said}", highlight=False, soft_wrap=True)
    own = ("recipe", "license", "background", "data", "changed_settings")
    header = {key: value for key, value in parts.header({}).items() if key in own}
    kept = {key: probe.header[key] for key in ("frame_interval", "probe") if key in probe.header}
    probe.header = {**kept, **header, "scores": {}}
    clips = len(parts.splits["val"])
    lead = 2 * math.sqrt(max(0.0, top1 * (1 - top1)) / clips)  # two standard errors
    lead = min(lead, max(0.0, 1 - 0.5 / clips - top1))  # no clip wrong is always enough
    state.start(top1, recognizer=probe, lead=lead)


def _answers_at_start(parts: Parts) -> dict[str, Any] | None:
    """Return the header of weights that come with their head; None without them, or without clips to compare on."""
    weights = parts.recipe.model.weights
    own = type(parts.data.val) is not ViewClips  # a dataset of one's own has no files to read
    if not weights or "val" not in parts.splits or own:
        return None
    header = read_header(weights)
    return header if keeps_head(header, parts.splits["train"].class_names, parts.recipe.model.name) else None
