"""Keys of a configuration that change, and what that does to it and to the setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.records.codec import Part
from uncollapse.records.setting import Setting

_IN_JSON = {"before": "from", "after": "to"}


@dataclass(frozen=True)
class SettingChange(Part):
    """One key of the configuration and its values before and after; "from" and "to" in JSON.

    Examples:
        >>> SettingChange("loss.alpha", 0.0, 0.2).to_dict()
        {'key': 'loss.alpha', 'from': 0.0, 'to': 0.2}
    """

    __pydantic_config__: ClassVar[Any] = {
        **Part.__pydantic_config__,
        "alias_generator": lambda name: _IN_JSON.get(name, name),
    }

    key: str
    before: Any = None
    after: Any = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        return {_IN_JSON.get(key, key): value for key, value in super().to_dict().items()}

    def keys(self) -> list[str]:
        """As in JSON."""
        return list(self.to_dict())

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __str__(self) -> str:
        return f"{self.key} {self.before} -> {self.after}"


def changed_config(block: Mapping[str, Any], changes: Iterable[SettingChange]) -> dict[str, Any]:
    """A configuration, as plain types, with some keys changed; the one that is given stays.

    Examples:
        >>> change = SettingChange("loss.alpha", 0.0, 0.2)
        >>> changed_config({"loss": {"alpha": 0.0, "temperature": 0.1}}, [change])
        {'loss': {'alpha': 0.2, 'temperature': 0.1}}
    """
    changed = dict(block)
    for change in changes:
        part, key = change.key.split(".")
        changed[part] = changed[part] | {key: change.after}
    return changed


def changed_setting(setting: Setting, changes: Iterable[SettingChange]) -> Setting:
    """The setting after changes of a configuration's keys.

    Keys that theory does not know leave it as it is, and so do values that it refuses.

    Examples:
        >>> setting = Setting(classes=2, per_class=3, alpha=0.5, temperature=1.0)
        >>> changed_setting(setting, [SettingChange("loss.alpha", 0.5, 0.2)]).alpha
        0.2
    """
    for change in changes:
        try:
            setting = _changed(setting, change)
        except (InputError, TypeError, ValueError):
            continue
    return setting


def _changed(setting: Setting, change: SettingChange) -> Setting:
    part, _, name = change.key.rpartition(".")
    value: Any = change.after
    if part in ("", "loss") and name in ("alpha", "temperature"):
        return setting.with_(**{name: float(value)})
    if change.key == "views.count":
        return setting.with_(views=int(value))
    if part == "batch" and name in vars(setting.batch):
        value = None if value is None else int(value)
        return setting.with_(batch=replace(setting.batch, **{name: value}))
    return setting
