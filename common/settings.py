"""Settings: frozen pydantic models, read from YAML, overridden with `--set a.b=value`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localblur.common.errors import LocalblurError


class Settings(BaseModel):
    """Base of every settings model: immutable; an unknown key, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
"""For the items of a tuple."""

SettingsType = TypeVar("SettingsType", bound=Settings)


def load_settings(
    model: type[SettingsType],
    config: Path | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> SettingsType:
    """Resolve settings: model defaults, then `values`, then the YAML file, then `--set` overrides (the last wins).

    Args:
        model: the settings model.
        config: YAML file with a mapping, or None.
        overrides: `a.b=value` texts; the value is parsed as YAML.
        values: programmatic values (for example from a recipe); nested mappings are merged.

    Raises:
        LocalblurError: if the file is missing or no mapping, or any key or value is wrong; all problems in one line.
    """
    merged: dict[str, Any] = {}
    _merge(merged, values or {})
    if config is not None:
        _merge(merged, read_yaml(config))
    problems: list[str] = []
    for override in overrides:
        try:
            _merge(merged, _parse_override(override))
        except LocalblurError as error:
            problems.append(str(error))
    if problems:
        raise LocalblurError("; ".join(problems))
    return validate(model, merged, str(config) if config else model.__name__)


def validate(model: type[SettingsType], values: Mapping[str, Any], origin: str) -> SettingsType:
    """Build `model` from plain values; every problem is named with its dotted path in one `LocalblurError`."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']} (got {item['input']!r})"
            for item in error.errors()
        )
        raise LocalblurError(f"{origin}: {problems}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LocalblurError(f"cannot read settings {path}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise LocalblurError(f"{path} must hold a mapping of settings, got {type(content).__name__}")
    return content


def _parse_override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise LocalblurError(f"--set needs name=value or a.b=value, got {text!r}")
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise LocalblurError(f"--set {text!r}: the value is not valid YAML") from error
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value
