"""Who may import whom: the rooms of the package, read from its import statements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "teinet"
BASE = {"errors", "utils", "teinet"}
MAY = {
    "errors": set(),
    "utils": set(),
    "kernels": set(),
    "layers": {"kernels"},
    "models": {"kernels", "layers"},
    "data": set(),
    "recognition": {"layers", "models", "data", "detection", "export"},  # `Recognizer.detector`, `Recognizer.export`
    "export": {"layers", "models", "data"},  # it is handed a recognizer
    "evaluation": {"models", "data", "recognition", "detection"},  # it measures what they find
    "detection": {"models", "data"},  # it is handed a recognizer
    "training": {"models", "data", "evaluation", "recognition", "probing"},  # validation is the test of `evaluation`
    "probing": {"models", "data", "recognition"},
    "report": {"models", "data", "training", "evaluation"},  # it reads what runs and tests left
    "demo": {"models", "data", "training", "evaluation", "recognition"},
    "scale": {"models", "data", "recognition", "detection"},  # what one process does, on many
    "serving": {"data", "detection", "recognition", "export", "pages"},
    "pages": {"data", "evaluation", "recognition", "detection", "training", "report", "demo"},  # what they show
}
# Names that the package itself offers, and the room that each comes from.
PUBLIC = {
    "__version__": "teinet",
    "Recipe": "training",
    "create_model": "models",
    "insert_temporal": "models",
    "keep_freed_memory": "utils",
    "list_models": "models",
    "pipeline": "recognition",
    "register_temporal": "models",
    "set_num_frames": "models",
    "Recognizer": "recognition",
    "VideoReader": "data",
    "test": "training",
    "train": "training",
}
FILES = [
    p for p in sorted(PACKAGE.rglob("*.py")) if p.name not in ("__init__.py", "__main__.py") or p.parent != PACKAGE
]


def room(module: str) -> str:
    """`teinet.data.lists.rows` lies in data, `teinet.Recognizer` comes from recognition."""
    name = module.split(".")[1] if "." in module else "teinet"
    return PUBLIC.get(name, name)


def imported(path: Path) -> set[str]:
    """The rooms whose modules a file imports anywhere, also inside functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "teinet" else {node.module}
            )
    outside = {name.split(".")[0] for name in names} & {"benchmarks", "tests"}  # not installed with the package
    return outside | {room(name) for name in names if name == "teinet" or name.startswith("teinet.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    others = imported(path) - {own} - BASE
    assert own in {*MAY, "cli"}, f"{own} is a new room: say here whom it may import"
    allowed = MAY.get(own, set(MAY))
    assert others <= allowed, f"{path.relative_to(PACKAGE)} imports {sorted(others - allowed)}"


def test_the_rule_sees_what_it_forbids(tmp_path):
    (tmp_path / "x.py").write_text(
        "def f():\n    from teinet.cli import main\n    import teinet.models.factory, tests.networks\n"
    )
    assert imported(tmp_path / "x.py") == {"cli", "models", "tests"}
    (tmp_path / "x.py").write_text("from teinet import Recognizer, __version__, set_num_frames, layers\n")
    assert imported(tmp_path / "x.py") == {"recognition", "teinet", "models", "layers"}


def test_the_packages_names_come_from_where_the_rule_says():
    import teinet

    offered = set(teinet.__all__) - {"layers"} | {"__version__"}
    assert offered == set(PUBLIC)
    assert all(room(home) == PUBLIC[name] for name, home in teinet._HOME.items())


def test_no_room_reaches_itself_through_others():
    for name in MAY:
        reached, waiting = set(), set(MAY[name])
        while waiting:
            reached |= (waiting := {other for each in waiting for other in {each} | MAY[each]} - reached)
        assert name not in reached, name


def test_no_two_modules_and_no_two_public_classes_share_a_name():
    modules = [path.name for path in FILES if path.name != "__init__.py"]
    nodes = [node for path in FILES for node in ast.parse(path.read_text()).body]
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    assert len(classes) > 80
    for names in (modules, classes):
        assert {name for name in names if names.count(name) > 1} == set()


def test_every_room_of_the_rule_is_there():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert rooms == set(MAY) | {"cli"}


def test_the_documentation_says_what_the_rule_says():
    text = (PACKAGE.parents[1] / "docs" / "explanation" / "design.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)/` \|.*\| *([^|]*?) *\|$", text, flags=re.MULTILINE))
    rooms = set(MAY) - BASE
    assert set(table) == rooms | {"cli"}
    for name in rooms:
        assert set(re.findall(r"\w+", table[name])) == MAY[name], name
    assert table["cli"] == "all; nothing imports it"


def test_the_package_itself_imports_neither_torch_nor_lightning():
    code = (
        "import sys, teinet, teinet.errors, teinet.cli.main; "
        "heavy = {'torch', 'lightning', 'numpy', 'timm', 'av'} & set(sys.modules); assert not heavy, heavy; "
        "teinet.layers; assert 'torch' in sys.modules and 'lightning' not in sys.modules; "
        "teinet.Recognizer, teinet.create_model; assert 'lightning' not in sys.modules; "
        "assert 'create_model' in dir(teinet)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
