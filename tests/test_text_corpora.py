"""Corpora built from Debian packages: real .deb files of our own, a stand-in for the network, real everything else."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.errors import MissingError, UnknownNameError
from isoloss.tasks import tasks
from isoloss.tasks.text import build, recipes
from isoloss.tasks.text.blocks import cut
from isoloss.tasks.text.prose import is_prose, paragraphs_of_html, paragraphs_of_pod, paragraphs_of_text
from isoloss.tasks.text.recipes import RECIPES, Package, Recipe

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is a tool of Debian")

#: Paragraphs that are all prose and all different.
LETTERS = [letter * (1 + again) for again in range(20) for letter in "abcdefghij"]
SENTENCES = [
    f"This is part {x}, and it has been written and printed so that these tests can read all of it." for x in LETTERS
]


def page(paragraphs) -> str:
    body = "".join(f"<p>{p}</p>\n" for p in paragraphs)
    return f"<html><head><title>{SENTENCES[0]}</title></head><body><nav>{SENTENCES[1]}</nav>{body}</body></html>"


# --- prose ------------------------------------------------------------------------------------------------------------


def test_a_page_gives_its_prose_and_nothing_else():
    html = f"""
    <!DOCTYPE html><html><head><title>{SENTENCES[9]}</title><style>p {{ {SENTENCES[8]} }}</style>
    <body><nav><p>{SENTENCES[7]}</nav><script>"{SENTENCES[6]}"</script><h1>A title</h1>
    <p>{SENTENCES[2][:20]}<em>{SENTENCES[2][20:40]}</em><a href="x">{SENTENCES[2][40:]}</a>
    <pre>{SENTENCES[5]}</pre><ul><li>{SENTENCES[3]}<li>short one</ul>
    <td>&quot;{SENTENCES[4]}&quot;&nbsp;&amp;
    more</td>"""
    got = list(paragraphs_of_html(html))
    assert got == [SENTENCES[2], SENTENCES[3], f'"{SENTENCES[4]}" & more']


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("<>/!-&;\"' =pabred[]?#x1\n"), max_size=200))
def test_broken_html_is_read_as_far_as_it_goes(html):
    for read in (paragraphs_of_html, paragraphs_of_text, paragraphs_of_pod):
        assert all(is_prose(p) and p == " ".join(p.split()) for p in read(html))


def test_prose_is_english_and_long_enough():
    assert all(map(is_prose, SENTENCES))
    assert not is_prose("Too short to be kept by the rule.")
    assert not is_prose(
        "Der schnelle braune Fuchs springt über den faulen Hund, und zwar immer wieder von vorne herein."
    )
    assert not is_prose(
        "0x3f 0x40 0x41 0x42 | the of and to a in is | 0x43 0x44 0x45 0x46 0x47 0x48 0x49 0x50 0x51 0x52"
    )


# --- building ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A folder of .deb files that `apt-get download` copies from, two recipes over them, and a cache of its own."""
    shop = tmp_path / "shop"
    shop.mkdir()

    def package(name, files, version="1.0"):
        root = tmp_path / f"{name}-{version}"
        (root / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: text\n"
        (root / "DEBIAN" / "control").write_text(control)
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        for old in shop.glob(f"{name}_*"):
            old.unlink()
        command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(shop / f"{name}_{version}_all.deb")]
        subprocess.run(command, check=True, capture_output=True)

    tools = tmp_path / "bin"
    tools.mkdir()
    apt = tools / "apt-get"
    apt.write_text(
        f'#!/bin/sh\necho "$2" >> {tmp_path}/asked\ncp {shop}/"$2"_* . 2>/dev/null && exit 0\n'
        'echo "W: a warning" >&2\necho "E: Unable to locate package $2" >&2\nexit 100\n'
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path / "cache"))
    prose = Recipe(
        "debian", 1, (Package("one", "MIT", "1.0", ""), Package("two", "MIT", "1.0", "", "text", (".dz",))), ""
    )
    code = Package("tree", "GPL", "1.0", "", "whole", (".c",), "usr/src/*.tar.xz")
    linux = Recipe("linux", 1, (code,), "", repeats=True, skipped=("made/",))
    monkeypatch.setattr(recipes, "RECIPES", {"debian": prose, "linux": linux})
    monkeypatch.setattr(build, "RECIPES", {"debian": prose, "linux": linux})
    pages = {f"usr/share/doc/one/{i}.html": page(SENTENCES[i : i + 90]).encode() for i in range(0, 110, 5)}
    package("one", {**pages, "usr/share/doc/one/skipped.js": b"var x"})
    return tmp_path, package


def second(package, **more):
    text = "\n\n".join(f"{s} Again, and for the second time." for s in SENTENCES * 20)
    different = text.replace("the second", "{}")
    chapters = "\n\n".join(different.replace("{}", f"the {w}") for w in ("third", "next", "last", "best", "worst"))
    package("two", {"usr/share/two.dict.dz": gzip.compress((text + "\n\n" + chapters).encode())}, **more)


@needs_dpkg
def test_a_build_that_was_stopped_goes_on_and_gives_the_same_text(debian, monkeypatch):
    root, package = debian
    with pytest.raises(MissingError, match="Unable to locate package two; run 'apt-get update'"):
        build.build("debian")
    assert build.built("debian") is None
    with pytest.raises(MissingError, match="isoloss corpus debian"):
        tasks.get("language/debian")().prepare()
    second(package)
    # made-up text is short and all alike
    monkeypatch.setattr(build, "cut", lambda documents: cut(documents, 0.25))
    monkeypatch.setattr("isoloss.tasks.text.blocks.DUPLICATE", 1.0)
    steps = []
    stopped = build.build("debian", lambda what, done, total: steps.append((what, done, total)))
    assert (root / "asked").read_text().split() == ["one", "two", "two"]
    assert [s[0] for s in steps][:2] == ["downloading two", "reading two"] and steps[-1] == ("done", 5, 5)
    monkeypatch.setenv("ISOLOSS_CACHE", str(root / "fresh"))
    assert build.build("debian").manifest == stopped.manifest


@needs_dpkg
def test_paragraphs_are_kept_once_and_the_manifest_says_what_they_came_from(debian):
    root, package = debian
    second(package)
    origins: list = []
    parts = root / "parts"
    for p in build.recipe("debian").packages:
        with build._unpacked(p, parts) as (origin, unpacked):
            lines = b"".join(build._lines(origin, p, build.recipe("debian"), unpacked))
            (parts / f"{p.name}.jsonl").write_bytes(lines)
    files = [parts / "one.jsonl", parts / "two.jsonl"]
    text = b"\n\n".join(t for _, t in build._documents(files, False, origins)).decode()
    paragraphs = text.split("\n\n")
    assert len(paragraphs) == len(set(paragraphs)) == 195 + 200 * 6
    assert SENTENCES[150] in paragraphs and "var x" not in text
    assert [o["package"] for o in origins] == ["one", "two"] and origins[0]["version"] == "1.0"
    assert sum(o["text_bytes"] for o in origins) > 100_000 and len(origins[1]["sha256"]) == 64
    again: list = []
    repeated = b"\n\n".join(t for _, t in build._documents(files, True, again)).decode().split("\n\n")
    assert len(repeated) > len(paragraphs) and set(repeated) == set(paragraphs)


def kernel(size: int) -> bytes:
    """A .tar.xz of C files, all different."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:xz") as tar:
        for name in [*(f"linux/a/{i}.c" for i in range(size)), "linux/made/x.c", "linux/a/readme.txt"]:
            text = "".join(
                f"int {name.replace('/', '_')[:-2]}_{j}(int x) {{ return x * {j * 7919 % 997}; }}\n" for j in range(400)
            )
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


@needs_dpkg
def test_a_built_corpus_is_a_task_and_says_whether_it_is_the_published_one(debian, monkeypatch):
    root, package = debian
    files = {"usr/src/linux.tar.xz": kernel(120)}
    package("tree", files)
    monkeypatch.setattr("isoloss.tasks.text.blocks.DUPLICATE", 0.9)  # made-up code is all alike
    built = api.build_corpus("linux")
    assert not built["as_published"] and "its own" in built["note"] and "tree 1.0" in built["note"]
    assert not (root / "cache" / "linux-v1-parts").exists()
    text = tasks.get("language/linux")
    monkeypatch.setattr("isoloss.tasks.text.packaged.RECIPES", build.RECIPES)
    task = text(text.Options(evaluation_bytes=2048))
    task.prepare()
    assert task.pinned().digest == built["digest"] == task.facts()["digest"]
    whole = b"".join(s.tobytes() for s in task.corpus.splits.values())
    assert b"int linux_a_7_" in whole and b"made" not in whole and b"readme" not in whole
    # the same packages give the same text, wherever they are built
    known = replace(build.RECIPES["linux"], digest=built["digest"])
    monkeypatch.setattr(build, "RECIPES", {**build.RECIPES, "linux": known})
    monkeypatch.setenv("ISOLOSS_CACHE", str(root / "elsewhere"))
    assert api.build_corpus("linux")["as_published"] and api.build_corpus("linux")["note"] == ""
    # another version is another text, and a study that was planned on the old one says so
    package("tree", {"usr/src/linux.tar.xz": kernel(121)}, version="1.1")
    assert "tree 1.1" in api.build_corpus("linux")["note"]
    with pytest.raises(Exception, match="the text has changed"):
        text(text.Options(evaluation_bytes=2048, digest=built["digest"])).prepare()
    (root / "elsewhere" / "linux-v1.bin").write_bytes(b"")
    assert build.built("linux") is None
    with pytest.raises(MissingError, match="damaged; isoloss corpus linux"):
        text().prepare()


def test_without_the_tools_of_debian_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="'apt-get' is not on this machine"):
        api.build_corpus("debian")
    with pytest.raises(UnknownNameError, match="known: debian, linux"):
        api.build_corpus("zzz")


def test_the_list_names_the_command_of_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "isoloss", "corpus", "--json"]
    environment = {"ISOLOSS_CACHE": str(tmp_path), "PATH": "/usr/bin"}
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
    assert {r["name"] for r in rows} == set(RECIPES)
    assert all(r["state"] == "missing" and r["command"] == f"isoloss corpus {r['name']}" for r in rows)


def test_every_recipe_pins_its_packages_and_its_text():
    for name, recipe in RECIPES.items():
        assert recipe.name == name and len(recipe.digest) == 64
        assert len({p.name for p in recipe.packages}) == len(recipe.packages)
        assert all(
            len(p.sha256) == 64 and p.version and p.licence and p.reader in recipes.READERS for p in recipe.packages
        )
