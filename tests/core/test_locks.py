"""The locks below requirements/: each is complete, and what installs one resolves nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTRAS, GROUPS = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
OPERATOR = PROJECT["project"]["dependencies"]
LAB_PROJECT = tomllib.loads((CHECKOUT / "lab" / "pyproject.toml").read_text())["project"]
LAB = [text for text in LAB_PROJECT["dependencies"] if Requirement(text).name != PROJECT["project"]["name"]]
PIN = re.compile(
    r"^([A-Za-z0-9][^\s;\\]*(?: *;[^\\\n]+)?) *\\\n((?:[ ]+--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


@dataclass(frozen=True)
class Lock:
    """What a lock must hold: all that ``wanted`` needs and that the lock ``beside`` it does not have."""

    wanted: list[str]
    beside: str = ""


LOCKS = {
    "operator.txt": Lock(OPERATOR),
    "build.txt": Lock(PROJECT["build-system"]["requires"]),
    "lab.txt": Lock(LAB, "operator.txt"),
    "lint.txt": Lock(EXTRAS["lint"], "operator.txt"),
    "dev.txt": Lock([*OPERATOR, *LAB, *EXTRAS["lint"], *GROUPS["dev"]]),
    "fuzz.txt": Lock(GROUPS["fuzz"], "dev.txt"),
}
# What `make` does not install is not there to be read: a new version is looked up and written down here.
REQUIRES = {("atheris", "3.0.0"): ([], ">=3.11")}
ENVIRONMENTS = [
    {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine in ("x86_64", "aarch64")
]


def pins(name: str, environment: dict[str, str]) -> dict[str, str]:
    """The packages of a lock that are installed there, each with its version."""
    lock = LOCKS[name]
    found = pins(lock.beside, environment) if lock.beside else {}
    for line, _ in PIN.findall((CHECKOUT / "requirements" / name).read_text()):
        pin = Requirement(line)
        [version] = pin.specifier
        assert version.operator == "==", line
        if applies(pin, environment):
            found[canonicalize_name(pin.name)] = version.version
    return found


def applies(requirement: Requirement, environment: dict[str, str], extras: Iterable[str] = ()) -> bool:
    """Whether it is asked for there, by a package of which these extras are wanted."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))


def metadata(name: str, version: str) -> tuple[list[str], str]:
    """What a pinned package requires: packages, and a Python."""
    if known := REQUIRES.get((name, version)):
        return known
    installed = importlib.metadata.distribution(name)
    assert installed.version == version, f"{name} {version} is pinned and {installed.version} is installed: make lint"
    return installed.requires or [], installed.metadata.get("Requires-Python") or ""


def closure(wanted: Iterable[str], pinned: dict[str, str], environment: dict[str, str]) -> tuple[set[str], list[str]]:
    """The pins that are needed there, and what is needed and not pinned, or not so."""
    asked = [("the project", Requirement(text)) for text in wanted]
    extras: dict[str, set[str]] = {}
    missing: list[str] = []
    while asked:
        source, requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        if not applies(requirement, environment, extras.get(source, ())):
            continue
        if name not in pinned or not requirement.specifier.contains(pinned[name], prereleases=True):
            missing.append(f"{source} needs {requirement}, pinned is {pinned.get(name)}")
        elif name not in extras or not extras[name] >= requirement.extras:
            extras[name] = extras.get(name, set()) | requirement.extras
            asked += [(name, Requirement(text)) for text in metadata(name, pinned[name])[0]]
    return set(extras), missing


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda it: f"{it['python_version']}-{it['platform_machine']}")
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_closed(name: str, environment: dict[str, str]) -> None:
    """All that a pinned package requires is pinned in the same lock, extras included, and nothing else is."""
    lock, pinned = LOCKS[name], pins(name, environment)
    needed, missing = closure(lock.wanted, pinned, environment)
    assert missing == []
    own = set(pinned) - set(pins(lock.beside, environment) if lock.beside else ())
    assert own - needed == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda it: f"{it['python_version']}-{it['platform_machine']}")
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_for_every_python(name: str, environment: dict[str, str]) -> None:
    """Every pinned package takes each Python that we support."""
    asked = {package: metadata(package, version)[1] for package, version in pins(name, environment).items()}
    python = environment["python_full_version"]
    assert [package for package, spec in asked.items() if not SpecifierSet(spec).contains(python)] == []


def test_every_lock_is_known() -> None:
    """No lock is left out here, every pin has hashes, and all locks agree about a package that several have."""
    assert {path.name for path in (CHECKOUT / "requirements").iterdir()} == set(LOCKS)
    blocks: dict[str, set[str]] = {}
    for name in LOCKS:
        text = (CHECKOUT / "requirements" / name).read_text()
        found = PIN.findall(text)
        assert len(found) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)), name
        for line, hashes in found:
            blocks.setdefault(line.partition("==")[0], set()).add(line + hashes)
    assert [package for package, variants in blocks.items() if len(variants) > 1] == []


def test_the_extra_is_the_lab_of_the_same_version() -> None:
    """No index has either: what asks for the other asks for just what this checkout has."""
    version = PROJECT["project"]["version"]
    assert LAB_PROJECT["version"] == version
    assert EXTRAS["lab"] == [f"{LAB_PROJECT['name']}=={version}"]
    assert f"{PROJECT['project']['name']}=={version}" in LAB_PROJECT["dependencies"]


def test_a_gap_is_seen() -> None:
    """A lock that lacks what an extra of a pinned package asks for, or has too old a version of it, is not closed."""
    environment = ENVIRONMENTS[0]
    pinned = pins("operator.txt", environment)
    assert "email-validator" in pinned  # only pydantic[email] asks for it
    without = {name: version for name, version in pinned.items() if name != "email-validator"}
    assert any("email-validator" in gap for gap in closure(OPERATOR, without, environment)[1])
    assert closure(OPERATOR, pinned | {"pydantic": "1.0"}, environment)[1]


# --- what installs them ---


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every ``pip install`` that the Makefile, the Dockerfile, a page or a message has, as the words after it."""
    for pattern in ("Makefile", "Dockerfile", ".ci/*", "*.md", "docs/**/*.md", "operator/**/*.py", "lab/**/*.py"):
        for path in sorted(CHECKOUT.glob(pattern)):
            text = path.read_text().replace("\\\n", " ")
            for command in re.findall(r"\bpip install\b((?:(?!&&|`|\"|#|\n).)+)", text):
                yield path.name, shlex.split(command)


def locks_of(words: list[str]) -> list[str]:
    """The locks that a command reads."""
    return [Path(word).name for word in words if "requirements/" in word]


def options_of(words: list[str]) -> list[str]:
    """The command without what it reads."""
    return [word for word in words if "requirements/" not in word and word not in ("-r", "--requirement")]


INSTALLS = [
    pytest.param(words, id=f"{path} {' '.join(locks_of(words))}") for path, words in commands() if locks_of(words)
]


def test_nothing_is_resolved() -> None:
    """Whatever says how to install something takes it as it is, and each lock is installed somewhere."""
    assert [(path, words) for path, words in commands() if "--no-deps" not in words] == []
    # what builds these packages is a download, too
    built = [(path, words) for path, words in commands() if {".", "./lab"} & set(words)]
    assert [(path, words) for path, words in built if "--no-build-isolation" not in words] == []
    assert {name for _, words in commands() for name in locks_of(words)} == set(LOCKS)


@pytest.mark.parametrize("words", INSTALLS)
def test_a_newer_release_changes_nothing(words: list[str], tmp_path: Path) -> None:
    """What is pinned is installed though the index has a newer release of it, that an extra asks for by name."""
    index = tmp_path / "index"
    index.mkdir()
    pinned = [wheel(index, "asks", "1.0", "given[more]"), wheel(index, "given", "1.0"), wheel(index, "more", "1.0")]
    wheel(index, "given", "2.0")
    lock = tmp_path / "lock.txt"
    lock.write_text("".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in pinned))
    ended = install([*options_of(words), "--requirement", str(lock)], index, tmp_path / "there")
    assert ended.returncode == 0, ended.stderr
    assert {path.name for path in (tmp_path / "there").glob("*.dist-info")} == {
        "asks-1.0.dist-info",
        "given-1.0.dist-info",
        "more-1.0.dist-info",
    }


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    """The same version with other bytes than the lock has hashes for is not installed."""
    name, _ = wheel(tmp_path, "given", "1.0")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"{name}==1.0 --hash=sha256:{'0' * 64}\n")
    words = INSTALLS[0].values[0]
    assert isinstance(words, list)
    ended = install([*options_of(words), "--requirement", str(lock)], tmp_path, tmp_path / "there")
    assert ended.returncode != 0
    assert not (tmp_path / "there").exists()


def install(words: list[str], index: Path, there: Path) -> subprocess.CompletedProcess[str]:
    """`pip install` with these words, from a folder as its only index, into another folder."""
    python = [sys.executable, "-m", "pip", "--isolated", "install"]
    return subprocess.run(
        [*python, *words, "--no-index", "--find-links", str(index), "--target", str(there)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wheel(folder: Path, name: str, version: str, *requires: str) -> tuple[str, str]:
    """An empty wheel; gives the package's name and the file's SHA-256."""
    info = f"{name}-{version}.dist-info"
    asked = "".join(f"Requires-Dist: {text}\n" for text in requires)
    more = "Provides-Extra: more\nRequires-Dist: more; extra == 'more'\n" if name == "given" else ""
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{asked}{more}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_encoded(text)},{len(text)}" for path, text in files.items()]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"}.items():
            archive.writestr(inside, text)
    return name, hashlib.sha256(path.read_bytes()).hexdigest()


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
