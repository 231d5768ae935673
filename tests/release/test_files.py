"""The files of a release: archives that the same commit makes again, checksums, and what is new."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import pluginrelease
from release import checksums, notes, wheels

EPOCH = "1700000000"
CHECKOUT = Path(__file__).resolve().parents[2]
VERSION = pluginrelease.__version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels and source archives."""
    folder = tmp_path_factory.mktemp("dist")
    wheels.build(folder, EPOCH)
    return folder


def test_both_projects_are_built(built: Path) -> None:
    """A wheel and a source archive for the operator and for the lab."""
    names = ("pluginrelease_lab", "pluginrelease_operator")
    expected = [f"{name}-{VERSION}{end}" for name in names for end in ("-py3-none-any.whl", ".tar.gz")]
    assert sorted(path.name for path in built.iterdir()) == expected


def test_the_same_commit_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Whoever builds the commit again can compare."""
    wheels.build(tmp_path, EPOCH)
    assert checksums.text(tmp_path) == checksums.text(built)


def test_the_operators_wheel_brings_chart_and_crd(built: Path) -> None:
    """What `shipped` looks for is inside, and nothing of the lab."""
    with zipfile.ZipFile(built / f"pluginrelease_operator-{VERSION}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert "pluginrelease/_data/charts/pluginrelease/values.schema.json" in names
    assert any(name.startswith("pluginrelease/_data/crds/") for name in names)
    assert not any("pluginrelease_lab" in name for name in names)


def test_the_source_archive_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """It is whole: the wheel that is built from it has the same files."""
    with tarfile.open(built / f"pluginrelease_operator-{VERSION}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    argv = [str(CHECKOUT / ".venv/bin/python"), "-m", "hatchling", "build", "--target", "wheel", "--directory", "again"]
    subprocess.run(argv, cwd=source, env={"SOURCE_DATE_EPOCH": EPOCH}, check=True, timeout=120)
    name = f"pluginrelease_operator-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(source / "again" / name) as again, zipfile.ZipFile(built / name) as wheel:
        assert again.namelist() == wheel.namelist()


# --- checksums ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files and their list."""
    for name in ("a.whl", "b.tgz"):
        (tmp_path / name).write_text(name)
    assert CliRunner().invoke(checksums.main, [str(tmp_path)]).exit_code == 0
    return tmp_path


def test_sha256sum_reads_the_list(folder: Path) -> None:
    """The program that everybody has agrees."""
    said = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout) == (0, "a.whl: OK\nb.tgz: OK\n")


def test_a_signature_beside_the_list_is_no_part_of_it(folder: Path) -> None:
    """What is made from the list cannot be in it."""
    (folder / "SHA256SUMS.sigstore.json").write_text("{}")
    assert CliRunner().invoke(checksums.main, ["--check", str(folder)]).exit_code == 0


@pytest.mark.parametrize("what", ["changed", "missing", "not listed"])
def test_a_difference_is_named(folder: Path, what: str) -> None:
    """A file that was changed, is missing, or came later."""
    if what == "changed":
        (folder / "b.tgz").write_text("other")
    elif what == "missing":
        (folder / "b.tgz").unlink()
    else:
        (folder / "c.exe").write_text("c")
    said = CliRunner().invoke(checksums.main, ["--check", str(folder)])
    assert said.exit_code == 1
    assert f"{'c.exe' if what == 'not listed' else 'b.tgz'}: {what}" in said.output


# --- the version and what is new in it ---


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of a checkout that have a version in them, and a changelog of two."""
    for name in notes.versions(CHECKOUT):
        path = name.split()[0]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, tmp_path / path)
    text = f"# Changelog\n\n## [{VERSION}] – today\n\n### Added\n\n- It.\n\n## [0.0.1]\n\n- Older.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    return tmp_path


def test_the_checkout_says_one_version() -> None:
    """Both projects, the chart and the module."""
    assert len(notes.versions(CHECKOUT)) == 5
    assert set(notes.versions(CHECKOUT).values()) == {VERSION}
    assert tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_notes_are_the_section_of_the_version(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed for a tag is that version's part of the changelog."""
    monkeypatch.setattr(notes, "CHECKOUT", checkout)
    said = CliRunner().invoke(notes.main, [f"v{VERSION}"])
    assert (said.exit_code, said.output) == (0, "### Added\n\n- It.\n")


@pytest.mark.parametrize(
    ("tag", "said"), [("v9.9.9", "pyproject.toml"), (VERSION, VERSION), (f"v{VERSION}-rc.1", "Chart.yaml")]
)
def test_a_tag_of_another_version_is_refused(tag: str, said: str) -> None:
    """A release never carries another name than what is in it."""
    with pytest.raises(ValueError, match=said):
        notes.check(CHECKOUT, tag)


def test_a_version_without_notes_is_refused() -> None:
    """Somebody forgot to write down what is new."""
    with pytest.raises(ValueError, match=r"rename \[Unreleased\]"):
        notes.section("## [Unreleased]\n\n- New.\n", "0.1.0")
