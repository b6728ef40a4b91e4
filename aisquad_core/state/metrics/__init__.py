"""What happened when: `metrics.db`, its only writer and its readers."""

from aisquad_core.state.metrics.collector import MetricsCollector
from aisquad_core.state.metrics.figures import (
    ConvoyMetrics,
    ConvoyStats,
    DurationFigures,
    OperationFailure,
    ResourceMetrics,
)
from aisquad_core.state.metrics.reader import MetricsReader

__all__ = [
    "ConvoyMetrics",
    "ConvoyStats",
    "DurationFigures",
    "MetricsCollector",
    "MetricsReader",
    "OperationFailure",
    "ResourceMetrics",
]
