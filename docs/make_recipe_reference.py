"""Writes reference/recipe.md from the recipe's own docstrings and defaults: python docs/make_recipe_reference.py"""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path

from teinet.training.recipe import Recipe
from teinet.training.settings import meanings

PAGE = Path(__file__).parent / "reference" / "recipe.md"
_HEAD = """\
# The recipe

Every setting of a run, with its default. On the command line write `--optim.lr 0.02`, in a file

```yaml
optim:
  lr: 0.02
```

Name a recipe first: a file, or one of the library's (`teinet recipes` lists them). A later recipe overrides an
earlier one, and options override all. A file may extend another with `extends: FILE` or `extends: NAME`, and contain
variants of itself under `rows:`. The defaults are the paper's for Something-Something (section 4.2);
where no recipe is named, [the clips and the machine choose](../how-to/train-better.md). A run writes all
its settings to `recipe.yaml`.
"""


def render() -> str:
    """The page's text."""
    recipe, said = Recipe(), meanings(Recipe)
    lines = [_HEAD]
    for part in fields(recipe):
        config = getattr(recipe, part.name)
        if not is_dataclass(config):  # row, published: a recipe's own, not a user's
            continue
        summary = inspect.getdoc(type(config)).partition("Args:")[0]
        lines += [
            f"## {part.name}",
            "",
            " ".join(summary.split()),
            "",
            "| setting | default | meaning |",
            "|---|---|---|",
        ]
        for field in fields(config):
            default = getattr(config, field.name)
            shown = str(default).lower() if isinstance(default, bool) or default is None else str(default)
            name = f"{part.name}.{field.name}"
            lines.append(f"| `{name}` | {shown} | {said[name]} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render())
