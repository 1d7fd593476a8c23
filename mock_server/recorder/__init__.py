"""
Record a real API, replay it as a script.
"""

from mock_server.recorder.foreground import (
    RunningRecorder,
    record,
    running_recorder,
)
from mock_server.recorder.from_run import convert_run, recording_of
from mock_server.recorder.options import RecordOptions
from mock_server.recorder.recorded import (
    Asked,
    Recorded,
    RecordedCall,
    RecordedError,
    RecordedReply,
    Timing,
    UnreadableError,
)
from mock_server.recorder.recording import (
    Recording,
    RecordingLimits,
    check_script_text,
)
from mock_server.recorder.redaction import Redactor

__all__ = [
    "Asked",
    "RecordOptions",
    "Recorded",
    "RecordedCall",
    "RecordedError",
    "RecordedReply",
    "Recording",
    "RecordingLimits",
    "Redactor",
    "RunningRecorder",
    "Timing",
    "UnreadableError",
    "check_script_text",
    "convert_run",
    "record",
    "recording_of",
    "running_recorder",
]
