"""Names to things: built-in modules imported on first use, entry points of other packages, plug-in files.

A built-in is one file plus one line in the package's ``BUILTIN`` table, so names can be listed without importing
torch; the decorator in the file does the registering.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from isoloss.blame import blamed
from isoloss.errors import MissingError, StudyError, UnknownNameError
from isoloss.processes import MAIN
from isoloss.runs import Card

T = TypeVar("T")


class Registry(Generic[T]):
    """A family of interchangeable parts behind one protocol, found by name."""

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str, base: type | None = None) -> None:
        self.kind, self.builtin, self.group, self.base = kind, dict(builtin), group, base
        self._loaded: dict[str, type[T]] = {}

    def register(
        self,
        name: str,
        *,
        version: int,
        summary: str,
        year: int,
        source: str,
        claim: str = "",
        smoke: Mapping[str, object] | None = None,
    ) -> Callable[[type[T]], type[T]]:
        """Class decorator: gives the class its `card` and files it under `name`.

        Raises `StudyError` for a class that could not be used: one of another kind, or with methods left to write.
        """

        def file(cls: type[T]) -> type[T]:
            self._check(name, cls)
            inherited = getattr(cls, "card", None)
            cls.card = Card(  # type: ignore[attr-defined]
                name, version, summary, year, source, claim, smoke or getattr(inherited, "smoke", {})
            )
            self.file(name, cls)
            return cls

        return file

    def file(self, name: str, cls: type[T]) -> None:
        """File a class under `name`, without a card. Raises `StudyError` for the name of a built-in from elsewhere."""
        if name in self.builtin and not getattr(cls, "__module__", "").startswith("isoloss."):
            raise StudyError(
                f"{self.kind} '{name}'", "is already the name of a built-in one", "give yours another name"
            )
        filed(getattr(cls, "__module__", ""), lambda: self._loaded.update({name: cls}))

    def _check(self, name: str, cls: type[T]) -> None:
        where, called = f"{self.kind} '{name}'", getattr(cls, "__name__", "")
        if self.base is not None and not (isinstance(cls, type) and issubclass(cls, self.base)):
            own = f"class {called}(...) of one that is there, or of {self.base.__name__}"
            raise StudyError(where, f"{called} is no {self.base.__name__}", f"derive it: {own}")
        lacking = sorted(getattr(cls, "__abstractmethods__", ()))
        if lacking:
            raise StudyError(where, f"{called} has no {', '.join(f'{m}()' for m in lacking)}", "write what is lacking")
        for choices in ("Choices", "Options"):
            held = getattr(cls, choices, None)
            if held is not None and not hasattr(held, "model_fields"):
                what = f"{called}.{choices} is a class of its own"
                raise StudyError(where, what, f"derive it: class {choices}({cls.__mro__[1].__name__}.{choices})")

    def from_module(self, module: str) -> list[str]:
        """Names of what the module called `module` registered, sorted."""
        return sorted(n for n, cls in self._loaded.items() if cls.__module__ == module)

    def names(self) -> list[str]:
        """All known names, sorted; imports nothing."""
        return sorted({*self.builtin, *self._loaded, *(e.name for e in entry_points(group=self.group))})

    def get(self, name: str, where: object = "") -> type[T]:
        """The class behind `name`; raises `UnknownNameError` with the nearest names, `MissingError` for an extra."""
        if name not in self._loaded:
            external = {e.name: e for e in entry_points(group=self.group)}
            try:
                if name in self.builtin:
                    importlib.import_module(self.builtin[name])
                elif name in external:
                    self._loaded[name] = external[name].load()
                else:
                    raise UnknownNameError(where or self.kind, self.kind, name, self.names())
            except ModuleNotFoundError as error:
                root = (error.name or "").split(".")[0]
                if root in ("", "isoloss"):
                    raise
                raise MissingError(
                    where or name,
                    f"{self.kind} '{name}' needs the package '{root}'",
                    "install the trainer: pip install 'isoloss[lab]'",
                ) from error
        return self._loaded[name]

    def code(self, name: str) -> str:
        """Digest of the plug-in file that `name` came from; empty for built-ins and packages.

        Raises `StudyError` for what a script or notebook registered itself: another process could not load it, nor an
        edit of it be told.
        """
        module = getattr(self.get(name), "__module__", "")
        if module == MAIN:
            what = "is registered by the script itself, which the processes that train do not load"
            raise StudyError(f"{self.kind} '{name}'", what, "put it in a file, and name that in `plugins` of the study")
        return _PLUGIN_DIGESTS.get(module, "")


_PLUGIN_DIGESTS: dict[str, str] = {}
#: Module of a plug-in -> how to file again what it filed.
_FILINGS: dict[str, list[Callable[[], None]]] = {}
#: Modules of plug-ins by when they were last loaded.
_LOADED: dict[str, None] = {}


def filed(module: str, how: Callable[[], None]) -> None:
    """File something that `module` says, by `how`; again when a study names it after another took the name."""
    how()
    if module in _PLUGIN_DIGESTS:
        _FILINGS.setdefault(module, []).append(how)


def plugin_files() -> list[Path]:
    """The plug-in files loaded in this process, for another one to load."""
    return [Path(str(sys.modules[name].__file__)) for name in _PLUGIN_DIGESTS if name in sys.modules]


def loaded() -> tuple[str, ...]:
    """The plug-ins of this process, the one that has the last word on a name at the end: what any name means now."""
    return tuple(_LOADED)


def load_plugin(path: Path) -> str:
    """Import a Python file that registers algorithms, tasks or laws, once per content; returns its module's name.

    Its names then mean what this file says, whatever was loaded under them before.

    Its SHA-256 becomes part of the identity of every run that uses it, so an edited file never reuses old runs.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise StudyError(path, f"plug-in can't be read ({error.strerror})", "check `plugins` in the study") from error
    name = f"isoloss_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        for again in _FILINGS.get(name, ()):
            again()
        _LOADED[name] = _LOADED.pop(name, None)
        return name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StudyError(path, "is not a Python file", "plug-ins end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _PLUGIN_DIGESTS[name] = digest
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        _FILINGS.pop(name, None)
        raise StudyError(path, f"plug-in failed to import: {blamed(error, [path])}", "mend the file") from error
    _LOADED[name] = None
    return name
