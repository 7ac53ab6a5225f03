"""One test of one recognizer: its scores, computed or read from an earlier test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import torch
from lightning.pytorch.callbacks import Callback

from teinet import __version__
from teinet.evaluation.evaluate import evaluate
from teinet.evaluation.hardware import Hardware
from teinet.evaluation.plan import Plan, Ready, Tested, saved_scores, trained_on
from teinet.models.classifier import multiply_adds, parameters
from teinet.models.exported import ExportedNetwork
from teinet.recognition.recognizer import Recognizer
from teinet.utils.signals import first_process


def test(
    path: str | Path | Ready,
    plan: Plan,
    *,
    reuse: bool,
    output: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Tested:
    """Test a recognizer, or read the scores of an earlier test.

    Args:
        path: a run's folder, a weights file, the folder of an earlier test, or its scores; or what `Ready.of` has
            chosen by this plan and found no scores of.
        reuse: take scores on disk of the same weights, clips, views, averaging and direction; only with the engine
            eager in fp32.
        output: the folder to write into; None takes `results_folder`.

    Raises:
        TeinetError: the weights, clips or scores cannot be used; or `reuse`, and `output` holds other scores.
        Interrupted: see `evaluate`.
    """
    if not isinstance(path, Ready):
        if (saved := saved_scores(path)) is not None:
            return saved
        path = Ready.of(path, plan, output=output)
        if reuse and (found := path.earlier()) is not None:
            return found
    header, chosen, weights = path.header, path.chosen, path.weights
    recognizer = Recognizer.load(weights, device="cpu")  # `evaluate` moves it, to several devices if asked
    recipe = header.get("recipe") or {}
    shape = recognizer.preprocessing.view_shape(bool(plan.views.full_resolution))
    facts = {
        "split": chosen.name,
        "weights": str(weights),
        "weights_sha256": path.facts["weights_sha256"],
        "teinet": __version__,
        "torch": torch.__version__,
        "decoder": f"PyAV {av.__version__}",
        "command": " ".join(sys.argv),
        "network": header["architecture"]["name"],
        "num_frames": recognizer.num_frames,
        "parameters": parameters(recognizer.model),
        "gmacs": round(multiply_adds(recognizer.model, shape) / 1e9, 4),
        "missing": len(chosen.source.dropped),
        "format": chosen.source.format,
        "submission": {"form": chosen.source.submission, "class_names": chosen.source.class_names},
        "recipe": {
            "row": recipe.get("row"),
            "published": recipe.get("published"),
            "changed_settings": header.get("changed_settings") or [],
        },
    }
    if overlap := trained_on(header, chosen.clips):
        facts["trained_on"] = overlap
    if (most := path.facts["max_damaged"]) is not None:
        facts["max_damaged"] = most
    hardware, model = plan.hardware or Hardware(), recognizer.model
    if isinstance(model, ExportedNetwork) or not path.as_trained:
        exported = isinstance(model, ExportedNetwork) and hardware.device == "auto"
        if exported:
            hardware = replace(hardware, device="cpu")
        there = recognizer if exported else recognizer.to(hardware.torch_device())
        model = there.optimize(engine=plan.engine, precision=plan.precision).model
        facts["optimized"] = str(model.optimization)
        hardware = replace(hardware, precision="fp32")  # the network's own format is the lower one already
    scores = evaluate(
        model,
        chosen.clips,
        sampling=recognizer.sampling,
        preprocessing=recognizer.preprocessing,
        views=plan.views,
        averaging=plan.averaging,
        backwards=plan.backwards,
        batch_size=plan.batch_size,
        workers=hardware.workers(plan.workers),
        read_timeout=plan.read_timeout,
        hardware=hardware,
        callbacks=callbacks,
        meta=facts,
    )
    if first_process():
        scores.save(path.folder)
    return Tested(scores, path.folder, False, chosen.source)


test.__test__ = False  # pytest would collect it by its name
