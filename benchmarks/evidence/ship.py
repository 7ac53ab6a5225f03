"""Makes a recognizer to ship of a run: python -m benchmarks.evidence.ship RUN NAME

Its card, NAME in recipes/cards.yaml, says title, data, license, figures and not_for, and may name `background`: the
classes that make no event. The file is written in half precision to src/teinet/weights (--output: elsewhere); what the
run's own header says of paths on this machine is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml

from teinet.models.checkpoint import load_weights, save_weights

NEEDED = ("title", "data", "license", "figures", "not_for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--cards", type=Path, default=Path(__file__).parent / "recipes" / "cards.yaml")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "src" / "teinet" / "weights")
    args = parser.parse_args()
    card = yaml.safe_load(args.cards.read_text(encoding="utf-8"))[args.name]
    if missing := [key for key in NEEDED if not card.get(key)]:
        raise SystemExit(f"{args.cards}, {args.name}: a card needs {', '.join(missing)}")
    model, header = load_weights(args.run)
    recipe = header["recipe"]
    recipe["data"] = {}  # where the clips lay
    for name in ("weights", "backbone_weights"):
        recipe.get("model", {}).pop(name, None)
    recipe.pop("run", None)
    background = {"background": card.pop("background")} if "background" in card else {}
    header |= {"license": card.pop("license"), **background, "card": card, "recipe": recipe}
    target = args.output / f"{args.name}.safetensors"
    save_weights(target, model, header, dtype=torch.float16)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
