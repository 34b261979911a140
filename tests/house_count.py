"""Count the package: run in the project's root; exits with 1 while a figure is above its bound.

The figures are modules, imports between modules, modules that only one other imports, names in
`__all__`, pairs of folders that import each other, and the lines of the README.
"""

from __future__ import annotations

import ast
import collections
import sys
from pathlib import Path

PACKAGE = Path("albert_edge")
BOUNDS = {
    "modules": 193,
    "edges": 1012,
    "imported by one": 58,
    "exported": 384,
    "circles": 0,
    "README lines": 120,
}


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def folder(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST, names: set[str]) -> set[str]:
    """Return the modules among `names` that a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in names else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & names


def exported(tree: ast.Module) -> int:
    """Return the number of names in `__all__`."""
    return sum(
        len(node.value.elts)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "__all__"
        and isinstance(node.value, (ast.List, ast.Tuple))
    )


def count() -> tuple[dict[str, int], int]:
    """Return the figures by the names of `BOUNDS`, and the lines of code."""
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    names = {dotted(path) for path in texts}
    edges = {
        (dotted(path), target)
        for path, tree in trees.items()
        for target in imported(tree, names)
        if target != dotted(path)
    }
    modules = [dotted(path) for path in texts if path.name != "__init__.py"]
    importers = collections.Counter(target for _, target in edges)
    between = {(folder(one), folder(other)) for one, other in edges}
    between = {(one, other) for one, other in between if one and other and one != other}
    figures = {
        "modules": len(modules),
        "edges": len(edges),
        "imported by one": sum(importers[module] == 1 for module in modules),
        "exported": sum(map(exported, trees.values())),
        "circles": sum((other, one) in between for one, other in between) // 2,
        "README lines": len(Path("README.md").read_text(encoding="utf-8").splitlines()),
    }
    return figures, sum(len(text.splitlines()) for text in texts.values())


if __name__ == "__main__":
    figures, lines = count()
    shown = (f"{figures[name]} {name} ({bound})" for name, bound in BOUNDS.items())
    sys.stdout.write(", ".join([*shown, f"{lines} lines of code"]) + "\n")
    sys.exit(any(figures[name] > bound for name, bound in BOUNDS.items()))
