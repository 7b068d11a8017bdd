"""Configuration of ``matkit label``: how to label, plus files and processes."""

from __future__ import annotations

from pydantic import Field

from matkit.label.options import LabellingOptions


class LabelConfig(LabellingOptions):
    """Configuration of ``matkit label``."""

    struct: list[str] = Field(
        [], description="files of structures, folders of them, or converted data sets"
    )
    out: str = Field("labels", description="folder of the labels; a run that was stopped goes on")
    shard: str = Field("1/1", description="which part of the structures, such as 2/4")
    workers: int = Field(1, ge=1, description="processes")
    retry_failed: bool = Field(False, description="try structures again that failed before")
    overwrite: bool = Field(False, description="remove labels that are there and begin anew")

    def options(self) -> LabellingOptions:
        """Return how to label."""
        names = LabellingOptions.model_fields
        return LabellingOptions(**{name: getattr(self, name) for name in names})
