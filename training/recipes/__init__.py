"""Training recipes, one YAML file each; read them with `localblur.training.running.config`."""

from importlib import resources


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """The YAML text of a recipe; the name must be one of `recipe_names`."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
