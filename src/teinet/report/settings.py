"""What differs between the recipes of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from teinet.report.run import Run
from teinet.training.recipe import Recipe

# What may differ between runs that repeat each other; name and output only say where a run lies.
PLACE = ("run.name", "run.output")
VARIED = ("run.seed", "data.division", "data.test_fold", "data.seed")


def flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings by their names with dots; those that an older version did not know have their defaults."""
    return _flat(asdict(Recipe())) | _flat(recipe)


def differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The settings that differ: name of the setting, then of the run, then the value."""
    recipes = {run.name: flat(run.recipe) for run in runs if run.recipe}
    names = dict.fromkeys(name for recipe in recipes.values() for name in recipe if name not in PLACE)
    table = {name: {run: recipe.get(name) for run, recipe in recipes.items()} for name in names}
    return {name: values for name, values in table.items() if len({_text(value) for value in values.values()}) > 1}


def without_varied(recipe: Mapping[str, Any]) -> str:
    """Text that is the same for two recipes exactly where one repeats the other."""
    return _text({name: value for name, value in flat(recipe).items() if name not in PLACE + VARIED})


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            settings |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif key != "published":  # figures of a paper, no setting
            settings[key] = value
    return settings


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
