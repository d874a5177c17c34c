"""How well targets are found: Pd and Fa by matched centres, AP and the published figures by COCO's rules.

:class:`~tdcnet.metrics.suite.DetectionMetrics` is what training and evaluation use; the rest are its parts.
"""

from tdcnet.metrics.collect import FrameCollector
from tdcnet.metrics.pd_fa import PdAtFalseAlarms, PdFa
from tdcnet.metrics.suite import DetectionMetrics
from tdcnet.metrics.table import format_table

__all__ = ["DetectionMetrics", "FrameCollector", "PdAtFalseAlarms", "PdFa", "format_table"]
