"""The words of other tools for options and settings."""

from __future__ import annotations

# What other tools call an option, then ours; of several the first that the command has.
_OTHER_WORDS = {
    "amp bf16": ("precision bf16",),
    "arch": ("backbone", "model"),
    "batch bs": ("batch-size",),
    "checkpoint ckpt": ("weights",),
    "classes names": ("labels",),
    "conf score-thr thr": ("threshold",),
    "finetune fine-tune": ("weights",),
    "dataset input source": ("data",),
    "epoch max-epochs num-epochs": ("epochs",),
    "exist-ok force again": ("overwrite",),
    "fp16 half": ("precision fp16",),
    "freeze freeze-layers frozen-stages": ("optim.freeze_stages",),
    "gpu": ("device cuda",),
    "gpus num-gpus": ("devices",),
    "img-size imgsz input-size resolution": ("size",),
    "learning-rate lr0 optim.learning-rate": ("lr",),
    "num-workers": ("workers",),
    "num-segments num-frames clip-len": ("frames",),
    "out out-dir output-dir project save-dir work-dir": ("output",),
    "optimize": ("engine",),
    "early-stopping patience": ("optim.patience",),
    "ema model-ema": ("optim.ema",),
    "hsv color-jitter": ("clip.color_jitter",),
    "auto-augment randaugment aa": ("clip.rand_augment",),
    "logger report-to": ("run.loggers",),
    "page": ("serve", "output"),
    "topk": ("top-k",),
    "val-split val-ratio": ("data.val_share",),
    "views": ("run.tests",),
    "vid-stride": ("frame-interval",),
}
BY_WORD = {word: ours for words, ours in _OTHER_WORDS.items() for word in words.split()}
