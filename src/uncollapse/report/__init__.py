"""One page for the person who decides, the engineer and the auditor, from what was measured."""

from uncollapse.report.build import Report, build_report
from uncollapse.report.explorer import explorer_page
from uncollapse.report.inputs_model import Options as ReportOptions

__all__ = ["Report", "ReportOptions", "build_report", "explorer_page"]
