"""LiteRT.js, which runs models in browsers: its files, fetched by npm once and kept in a cache."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from albert_edge.errors import DeviceError
from albert_edge.files import cache_folder, read_input, write_file

__all__ = ["litert_files"]

VERSION = "2.5.3"
ARCHIVE_MB = 11.8  # of both packages together
# Package → its SHA-512 as npm lists it.
PACKAGES = {
    "core": "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8Iwqgq"
    "CIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "wasm-utils": "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2k"
    "T39A9OYBVdFawteZ/sI1kQ==",
}
_NPM_S = 600.0  # to fetch a package
_TOP = "package/"  # the folder in npm's archives
# A worker does not see the import map of its page, so the one import by name gets an address.
_NAMED = b'import { createWasmLib } from "@litertjs/wasm-utils";'
_ADDRESSED = b'import { createWasmLib } from "../wasm-utils/index.js"; // changed by albert_edge'
_SOURCE_MAP = b"//# sourceMappingURL=index.js.map"


def litert_files(announce: Callable[[str], None]) -> dict[str, bytes]:
    """Return the files of LiteRT.js that a page loads, by path.

    They are `core/index.js`, `wasm-utils/index.js` and, in `core/wasm/`, four WebAssembly modules
    of 9 MB with their loaders: with and without threads, for browsers that wait for a GPU, and for
    those without relaxed SIMD; a page loads one.

    Args:
        announce: Gets a line before anything is fetched.

    Raises:
        DeviceError: npm is missing or fails, or a package is not the expected one.
    """
    core, utilities = (_members(_archive(name, announce)) for name in PACKAGES)
    scripts = {"core/index.js": core["dist/index.js"]}
    scripts["wasm-utils/index.js"] = utilities["dist/index.js"]
    wasm = {f"core/{name}": content for name, content in core.items() if name.startswith("wasm/")}
    return {name: _edited(content) for name, content in scripts.items()} | wasm


def _archive(name: str, announce: Callable[[str], None]) -> bytes:
    path = cache_folder("litert_js") / f"litertjs-{name}-{VERSION}.tgz"
    with suppress(OSError):  # it is not there yet
        if _is_expected(name, content := read_input(path)):
            return content
    if name == "core":
        announce(
            f"Fetching LiteRT.js {VERSION} (Apache-2.0) by npm, {ARCHIVE_MB} MB, once; it is kept "
            f"in {path.parent}."
        )
    content = _fetch(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot make {path.parent}: {error.strerror}.") from error
    write_file(path, content, force=True)
    return content


def _is_expected(name: str, content: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == PACKAGES[name]


def _fetch(name: str) -> bytes:
    package = f"@litertjs/{name}@{VERSION}"
    if (npm := shutil.which("npm")) is None:
        raise DeviceError(
            f"the page runs models with {package}, and npm, which fetches it, is not installed. "
            "Install Node.js with npm."
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # noqa: S603 (npm, and no shell)
                [npm, "pack", package, "--ignore-scripts", "--silent"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_NPM_S,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"npm did not fetch {package} in {_NPM_S:g} s.") from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["npm printed nothing"]
            raise DeviceError(f"npm cannot fetch {package}: {' '.join(lines[:3])}.")
        content = read_input(archives[0])
    if not _is_expected(name, content):
        raise DeviceError(
            f"npm fetched another {package} than the expected one: its SHA-512 differs. See which "
            "registry npm is set up for."
        )
    return content


def _members(archive: bytes) -> dict[str, bytes]:
    """Return the files of an npm archive by their paths in the package."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name.removeprefix(_TOP): file.read() for name, file in files.items() if file}


def _edited(script: bytes) -> bytes:
    return script.replace(_NAMED, _ADDRESSED).replace(_SOURCE_MAP, b"")
