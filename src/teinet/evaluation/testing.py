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
from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.errors import ConfigError
from teinet.evaluation.evaluate import evaluate
from teinet.evaluation.plan import Plan, Tested, choose, find_earlier, results_folder, trained_on
from teinet.evaluation.scores import METRICS, SCORES, Scores
from teinet.models.classifier import multiply_adds, parameters
from teinet.models.header import weights_file
from teinet.recognition.recognizer import Recognizer
from teinet.utils.files import digest
from teinet.utils.signals import first_process


def test(
    path: str | Path, plan: Plan, *, reuse: bool, output: str | Path | None = None, callbacks: Sequence[Callback] = ()
) -> Tested:
    """Test a recognizer, or read the scores of an earlier test.

    Args:
        path: a run's folder, a weights file, the folder of an earlier test, or its scores.
        reuse: take scores on disk of the same weights, clips, views, averaging and direction; only with the engine
            eager in fp32.
        output: the folder to write into; None takes `results_folder`.

    Raises:
        TeinetError: the weights, clips or scores cannot be used; or `reuse`, and `output` holds other scores.
        Interrupted: see `evaluate`.
    """
    if Path(path).name == SCORES or (Path(path) / SCORES).is_file():
        return Tested(Scores.load(path), None, True, None)
    weights = weights_file(path)
    recognizer = Recognizer.load(weights, device="cpu")  # `evaluate` moves it, to several devices if asked
    chosen = choose(recognizer, plan)
    recipe = recognizer.header.get("recipe") or {}
    shape = recognizer.preprocessing.view_shape(bool(plan.views.full_resolution))
    facts = {
        "split": chosen.name,
        "weights": str(weights),
        "weights_sha256": digest(weights),
        "teinet": __version__,
        "torch": torch.__version__,
        "decoder": f"PyAV {av.__version__}",
        "command": " ".join(sys.argv),
        "network": recognizer.header["architecture"]["name"],
        "num_frames": recognizer.num_frames,
        "parameters": parameters(recognizer.model),
        "gmacs": round(multiply_adds(recognizer.model, shape) / 1e9, 4),
        "missing": len(chosen.source.dropped),
        "format": chosen.source.format,
        "submission": {"form": chosen.source.submission, "class_names": chosen.source.class_names},
        "recipe": {
            "row": recipe.get("row"),
            "published": recipe.get("published"),
            "changed_settings": recognizer.header.get("changed_settings") or [],
        },
    }
    if overlap := trained_on(recognizer, chosen):
        facts["trained_on"] = overlap
    if chosen.clips.max_damaged != MAX_DAMAGED:
        facts["max_damaged"] = chosen.clips.max_damaged
    folder = Path(output) if output else results_folder(weights, plan)
    same = {"views": str(plan.views), "averaging": plan.averaging, "data": chosen.clips.fingerprint()}
    same |= {"weights_sha256": facts["weights_sha256"], "optimized": None, "backwards": plan.backwards or None}
    same["max_damaged"] = facts.get("max_damaged")
    as_trained = plan.engine == "eager" and plan.precision in ("auto", "fp32")
    if reuse and as_trained and (found := find_earlier(folder, same)) is not None:
        if first_process() and not (folder / METRICS).exists():  # the earlier test was cut off while it wrote
            found.save(folder)
        return Tested(found, folder, True, chosen.source)
    if reuse and output and (folder / SCORES).is_file():
        raise ConfigError(
            f"{folder} holds another test's scores; --overwrite replaces them, another --output keeps them"
        )
    hardware, model = plan.hardware, recognizer.model
    if not as_trained:
        there = recognizer.to(hardware.torch_device())
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
        workers=plan.hardware.workers(plan.workers),
        read_timeout=plan.read_timeout,
        hardware=hardware,
        callbacks=callbacks,
        meta=facts,
    )
    if first_process():
        scores.save(folder)
    return Tested(scores, folder, False, chosen.source)


test.__test__ = False  # pytest would collect it by its name
