"""The verb over built corpora: what there is, what this machine has, and building one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isoloss.errors import MissingError


def corpora() -> list[dict[str, Any]]:
    """Every corpus that can be built: name, task, licences, packages; its size, digest and file where it is built.

    `state` is ``missing``, ``as published`` (the text that the project's own builds gave) or ``own build``.
    """
    try:
        from isoloss.tasks import tasks
        from isoloss.tasks.text.build import built
        from isoloss.tasks.text.recipes import RECIPES

        cards = {name: tasks.get(f"language/{name}").card for name in RECIPES}
    except ModuleNotFoundError as error:
        raise MissingError("corpus", f"the package '{error.name}' is missing", "pip install 'isoloss[lab]'") from error
    rows = []
    for name, recipe in RECIPES.items():
        found = built(name)
        row: dict[str, Any] = {
            "name": name,
            "task": f"language/{name}",
            "summary": cards[name].summary,
            "packages": [p.name for p in recipe.packages],
            "licences": sorted({p.licence for p in recipe.packages}),
            "command": f"isoloss corpus {name}",
            "state": "missing",
        }
        if found is not None:
            row |= {
                "state": "as published" if found.as_published else "own build",
                "train_bytes": found.manifest["train_bytes"],
                "digest": found.manifest["digest"],
                "path": str(found.path),
            }
        rows.append(row)
    return rows


def build_corpus(
    name: str, *, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> dict[str, Any]:
    """Build the corpus `name` into the user's cache from Debian packages, and answer its manifest.

    The manifest has each package's version and SHA-256, the bytes of each split and the digest of all. `as_published`
    says whether the text is the one that the project's own builds gave; where it is not, `note` says why, and runs on
    it compare among themselves only. Raises `MissingError` where ``apt-get`` or a package is missing.
    """
    corpora()  # says what is missing before anything is downloaded
    from isoloss.tasks.text.build import build, changed_packages

    found = build(name, progress)
    note = ""
    if not found.as_published:
        changed = changed_packages(name, found.manifest)
        why = (
            f"other packages than the published build ({', '.join(changed)})"
            if changed
            else "same packages, other text"
        )
        note = f"this build is its own: {why}; its runs compare among themselves"
    return {**found.manifest, "path": str(found.path), "as_published": found.as_published, "note": note}
