from .build import (
    Report,
    build_report,
)
from .explorer import (
    explorer_page,
)
from .inputs_model import (
    ReportOptions,
)

__all__ = [
    "Report",
    "ReportOptions",
    "build_report",
    "explorer_page",
]
