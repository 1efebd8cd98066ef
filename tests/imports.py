"""Which modules of this project a module imports, directly or not, read from its source."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules(*folders: str) -> list[Path]:
    """Return every module below folders of the project, but for those of virtual environments."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if ".venv" not in path.parts)


def project_imports(path: Path) -> set[Path]:
    """Return every file of the project that running `path` imports, itself included."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        waiting += [file for name in imported_names(current) for file in files_of(name)]
    return found


def imported_names(path: Path) -> set[str]:
    """Return the dotted names that a module imports anywhere in its source."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def files_of(name: str) -> list[Path]:
    """Return the files that importing `name` runs: the module's and its packages' __init__."""
    parts = name.split(".")
    if parts[0] not in ("thaw", "stages", "pretrain"):
        return []
    prefixes = [Path(*parts[: i + 1]) for i in range(len(parts))]
    candidates = [path / "__init__.py" for path in prefixes] + [
        p.with_suffix(".py") for p in prefixes
    ]
    return [ROOT / path for path in candidates if (ROOT / path).is_file()]
