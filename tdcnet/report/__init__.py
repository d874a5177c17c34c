"""An evaluation as a page: figures, tables, and pictures of what went wrong.

:func:`~tdcnet.report.page.write_report` is what ``stage=eval`` calls; the rest are its parts.
"""

from tdcnet.report.page import Run, write_report

__all__ = ["Run", "write_report"]
