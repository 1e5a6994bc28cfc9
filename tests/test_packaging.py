"""The package as users get it: contents, wheel and sdist, neighbours left alone, every command alive."""

import configparser
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

DATA = {".yaml", ".html", ".css", ".js", ".svg", ".safetensors", ".md", ".json"}
FOLDERS = ("common", "acquisition", "alignment", "datasets", "training")


def read_setup(root: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    return parser


def listed_packages(root: Path) -> set[str]:
    return set(read_setup(root)["options"]["packages"].split())


def scripts(root: Path) -> dict[str, str]:
    lines = read_setup(root)["options.entry_points"]["console_scripts"].strip().splitlines()
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines)}


def test_package_list_equals_the_disk(root: Path) -> None:
    on_disk = {
        ".".join(("localblur", *init.parent.relative_to(root).parts))
        for folder in FOLDERS
        for init in (root / folder).rglob("__init__.py")
    }
    assert listed_packages(root) == on_disk


def test_every_python_file_lies_in_a_listed_package(root: Path) -> None:
    packages = listed_packages(root)
    for folder in FOLDERS:
        for file in (root / folder).rglob("*.py"):
            assert ".".join(("localblur", *file.parent.relative_to(root).parts)) in packages, file


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(__file__).resolve().parent.parent
    output = tmp_path_factory.mktemp("dist")
    sources = tmp_path_factory.mktemp("sources")
    copied = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"] + [
        str(path.relative_to(root))
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for name in copied:
        target = sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / name).read_bytes())
    result = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return output


@pytest.mark.slow
def test_wheel_and_sdist_hold_every_module_and_its_data(built: Path, root: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    for folder in FOLDERS:
        for file in (root / folder).rglob("*"):
            if (
                file.suffix in {".py", ".yaml", ".html", ".css", ".js", ".svg", ".safetensors", ".md", ".json"}
                or file.name == "py.typed"
            ):
                relative = file.relative_to(root).as_posix()
                assert f"localblur/{relative}" in in_wheel, relative
                assert relative in in_sdist, relative
    top_level = {name.split("/")[0] for name in in_wheel}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {"localblur"}


@pytest.mark.slow
def test_a_plain_install_leaves_a_foreign_datasets_package_untouched(built: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    foreign = site / "datasets" / "__init__.py"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("WHOSE = 'somebody else'\n")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    assert [path.name for path in (site / "datasets").iterdir() if path.suffix == ".py"] == ["__init__.py"]
    assert foreign.read_text() == "WHOSE = 'somebody else'\n"
    probe = (
        "import sys; sys.path.insert(0, sys.argv[1]); import datasets, localblur.datasets as own;"
        "print(datasets.WHOSE, own.__file__)"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-c", probe, str(site)], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert shown.startswith("somebody else") and str(site) in shown


def test_installed_scripts_are_those_of_setup_cfg(root: Path) -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group="console_scripts")
        if point.value.startswith("localblur.")
    }
    assert installed == scripts(root)


@pytest.mark.parametrize(
    "command", sorted(scripts(Path(__file__).resolve().parent.parent)), ids=lambda command: str(command)
)
def test_every_command_answers_help_with_an_example(command: str) -> None:
    (point,) = (point for point in entry_points(group="console_scripts") if point.name == command)
    program = f"import sys; from {point.module} import {point.attr}; sys.argv[0] = {command!r}; {point.attr}()"
    shown = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "Example" in shown.stdout and "--help" in shown.stdout
    assert shown.stderr == ""
