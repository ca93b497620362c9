"""Reads run folders; makes a static page per run and comparisons over runs."""

from spikeloom.report.compare import Comparison, compare, write_compare
from spikeloom.report.error import RunFolderError
from spikeloom.report.folder import RunFiles, read_run
from spikeloom.report.page import write_report
from spikeloom.report.record import write_record
from spikeloom.report.summary import summary

__all__ = [
    "Comparison",
    "RunFiles",
    "RunFolderError",
    "compare",
    "read_run",
    "summary",
    "write_compare",
    "write_record",
    "write_report",
]
