"""What an image has besides the packages of the lock: components of a CycloneDX document.

They are Debian's packages, Python where the image has its own in /usr/local, and Python's packages there. The image is
read as the archive that a release contains, from its layers, so that no container has to run.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from deploy import OperatorError

_WHITEOUT: Final = ".wh."
"""A file of this prefix in a layer removes the one of the rest of its name."""
_OPAQUE: Final = ".wh..wh..opq"
"""A file of this name removes everything that the layers below have in its folder."""
_STATUS: Final = "var/lib/dpkg/status"
_DISTRIBUTION: Final = "usr/lib/os-release"
_READ: Final = re.compile(
    rf"{_STATUS}|{_STATUS}\.d/[^/]+|{_DISTRIBUTION}"
    r"|usr/local/include/python3\.\d+/patchlevel\.h|usr/local/lib/python3\.\d+/site-packages/[^/]+\.dist-info/METADATA"
)
_VALIDATE: Final = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(None if fault is None else f"{fault!r}")
"""

Component = dict[str, Any]


def add(document: Path, image: Path) -> None:
    """Add what an image has to a CycloneDX document, sorted by name.

    Args:
        document: What cyclonedx-py has written of the lock.
        image: The archive of the image, of `docker save` or of BuildKit.

    Raises:
        OperatorError: The archive is none, or the image has no list of packages.
    """
    listed = json.loads(document.read_text())
    made = components(files_of(image))
    listed["components"] += made
    listed["dependencies"] += [{"ref": each["bom-ref"]} for each in made]
    document.write_text(json.dumps(listed, indent=2, ensure_ascii=False))


def validate(document: Path, python: Path) -> None:
    """Check a document by CycloneDX's schema, with the Python that has its library.

    Raises:
        OperatorError: It is not valid.
    """
    command = [str(python), "-c", _VALIDATE, str(document)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OperatorError(f"{document.name} is no CycloneDX document: {done.stderr.strip()[-300:]}")


def components(files: Mapping[str, bytes]) -> list[Component]:
    """Return the components that an image's files tell of, sorted.

    Raises:
        OperatorError: They don't say which packages there are.
    """
    about = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', files.get(_DISTRIBUTION, b"").decode(), re.MULTILINE))
    stanzas = [
        stanza
        for name, content in files.items()
        if name == _STATUS or name.startswith(f"{_STATUS}.d/")
        for stanza in re.split(r"\n\s*\n", content.decode(errors="replace"))
        if stanza.strip()
    ]
    if not stanzas or not {"ID", "VERSION_ID"} <= set(about):
        raise OperatorError("The image has no list of its operating system's packages (dpkg).")
    system, release = about["ID"], about["VERSION_ID"]
    made = [{"bom-ref": f"{system}-{release}", "type": "operating-system", "name": system, "version": release}]
    packages = (_package(stanza, system, release) for stanza in stanzas)
    found = [*made, *filter(None, packages), *_of_python(files)]
    return sorted({each["bom-ref"]: each for each in found}.values(), key=lambda each: str(each["bom-ref"]))


def _package(stanza: str, system: str, release: str) -> Component | None:
    """Return a package of dpkg's list, if it is installed."""
    fields = HeaderParser().parsestr(stanza.strip())
    if not fields.get("Status", "install ok installed").endswith(" installed"):
        return None
    name, version = fields["Package"], fields["Version"]
    source = re.fullmatch(r"(\S+)(?: \((\S+)\))?", fields.get("Source", name))
    told = {"arch": fields["Architecture"], "distro": f"{system}-{release}"}
    if source and source.groups() not in ((name, None), (name, version)):
        told["upstream"] = source[1] + (f"@{source[2]}" if source[2] else "")  # whose faults are announced
    return _component(f"deb/{system}", name, version, told)


def _of_python(files: Mapping[str, bytes]) -> Iterator[Component]:
    for name, content in files.items():
        if name.endswith("/patchlevel.h"):
            if version := re.search(rb'^#define PY_VERSION\s+"([^"]+)"', content, re.MULTILINE):
                component = _component("generic", "python", version[1].decode(), {})
                yield component | {"cpe": f"cpe:2.3:a:python:python:{component['version']}:*:*:*:*:*:*:*"}
        elif name.endswith("/METADATA"):
            fields = HeaderParser().parsestr(content.decode(errors="replace"))
            yield _component("pypi", re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"], {})


def _component(kind: str, name: str, version: str, qualifiers: Mapping[str, str]) -> Component:
    query = "&".join(f"{key}={quote(value, safe=':')}" for key, value in sorted(qualifiers.items()))
    purl = f"pkg:{kind}/{quote(name)}@{quote(version, safe=':')}{'?' if query else ''}{query}"
    return {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}


def files_of(image: Path) -> dict[str, bytes]:
    """Return the files of an image that say what is in it, as its last layer leaves them.

    Raises:
        OperatorError: It is no archive of an image.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(image) as archive:
            for layer in _layers(archive):
                with tarfile.open(fileobj=_member(archive, layer)) as tar:
                    _apply(tar, found)
    except (tarfile.TarError, KeyError, ValueError) as fault:
        raise OperatorError(f"{image.name} is no archive of an image ({fault}).") from fault
    return found


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    content = archive.extractfile(name)
    if content is None:
        raise KeyError(name)
    return content


def _layers(archive: tarfile.TarFile) -> list[str]:
    """Return the names of the layers, the lowest first."""
    if "manifest.json" in archive.getnames():
        return [str(name) for name in json.load(_member(archive, "manifest.json"))[0]["Layers"]]
    read = json.load(_member(archive, "index.json"))
    while "layers" not in read:
        read = json.load(_member(archive, _blob(read["manifests"][0])))
    return [_blob(layer) for layer in read["layers"]]


def _blob(descriptor: Mapping[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _apply(layer: tarfile.TarFile, found: dict[str, bytes]) -> None:
    """Put a layer's files over those of the layers below."""
    below, own = set(found), {}
    for entry in layer:
        folder, _, name = entry.name.removeprefix("./").rpartition("/")
        if name.startswith(_WHITEOUT):
            gone = folder if name == _OPAQUE else f"{folder}/{name.removeprefix(_WHITEOUT)}"
            for path in [path for path in below if path == gone or path.startswith(f"{gone}/")]:
                found.pop(path, None)
        elif entry.isfile() and _READ.fullmatch(path := f"{folder}/{name}"):
            content = layer.extractfile(entry)
            own[path] = content.read() if content else b""
    found |= own
