"""The files and folders that settings name: requirements, plugins, the startup script."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.config.content import refusal_of_requirement
from components.config.rules import Problem

PROJECT = Path(__file__).resolve().parents[2]
PLUGINS = PROJECT / "plugins"  # the program's own
# The limit of Amazon MWAA for a startup script is its run time; a script of this size is a mistake.
LONGEST_SCRIPT = 1024 * 1024
LARGEST_PLUGINS = 32 * 1024 * 1024  # what is larger has packages in it
AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"  # of all regions
NO_SCRIPT = b"# startup_script is not set\n"


def located(path: str) -> Path:
    """A path of a setting; a relative one begins at the project's folder."""
    return PROJECT / Path(path).expanduser()


def startup_script(path: str | None) -> bytes:
    """The script's content; one that does nothing if there is none."""
    return located(path).read_bytes() if path else NO_SCRIPT


def requirement_lines(path: str | None) -> list[tuple[int, str]]:
    """The requirements in a file, and on which line each is: continued lines joined, without comments."""
    if path is None:
        return []
    from pip._internal.req.req_file import ignore_comments, join_lines

    numbered = enumerate(located(path).read_text().splitlines(), 1)
    return [(number, line.strip()) for number, line in ignore_comments(join_lines(numbered))]


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their paths in it, without caches."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def file_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems in the files; `known` as in `environment_rules`."""
    for key, refusal in (
        ("requirements_file", _of_requirements),
        ("plugins_folder", _of_plugins),
        ("startup_script", _of_script),
        ("aurora_authorities_file", _of_authorities),
    ):
        path = known.get(key)
        if path is None:
            continue
        try:
            yield from (Problem(key, path, allowed) for allowed in refusal(path))
        except (OSError, UnicodeDecodeError) as error:
            kind = "folder" if key == "plugins_folder" else "file"
            yield Problem(key, path, f"a {kind} that can be read ({error})")


def _of_requirements(path: str) -> Iterator[str]:
    for number, line in requirement_lines(path):
        if (allowed := refusal_of_requirement(line)) is not None:
            yield f"a file whose line {number}, {line!r}, is {allowed}"


def _of_script(path: str) -> Iterator[str]:
    content = located(path).read_bytes()
    content.decode()
    if not content.strip():
        yield "a file with a script in it"
    if b"\r" in content:
        yield "a file with Unix's line ends: a shell takes the others for part of each line"
    if len(content) > LONGEST_SCRIPT:
        yield "a script of 1 MiB or less"


def _of_authorities(path: str) -> Iterator[str]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=located(path).read_text())
    except (ssl.SSLError, ValueError):
        yield f"a file of certificates in PEM: curl -o {path} {AUTHORITIES}"


def _of_plugins(path: str) -> Iterator[str]:
    folder = located(path)
    if not folder.is_dir():
        yield "a folder"
        return
    if folder.resolve() == PLUGINS:
        yield "another folder than the program's own, which plugins.zip has anyway"
        return
    links = sorted(each for each in folder.rglob("*") if each.is_symlink() and not each.is_file())
    for each in links:
        link = each.relative_to(folder)
        yield f"a folder without {link}, a link to a folder or to nothing: put a copy there"
    files = folder_files(folder)
    if not files:
        yield "a folder with files in it"
    if sum(map(len, files.values())) > LARGEST_PLUGINS:
        yield f"a folder of {LARGEST_PLUGINS // 1024 // 1024} MiB or less: install packages by requirements"
    ours = {_claim(name) for name in folder_files(PLUGINS)}
    for name in sorted({each.split("/")[0] for each in files if _claim(each) in ours}):
        yield f"a folder without {name}, which this program's own plugins have: rename or remove yours"


def _claim(path: str) -> str:
    """What a file occupies: its top folder, or the module that it would be imported as. Not every file system
    tells cases apart."""
    top = path.split("/")[0].lower()
    if top.endswith(".dist-info"):
        return f"{top.partition('-')[0]}.dist-info"  # whatever the version
    return top.removesuffix(".py")
