"""What all tests share."""

from __future__ import annotations

import signal
import threading

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts tests in the background makes them, and all that they start, ignore Ctrl-C.

    Tests of Ctrl-C need it heard, as a person's terminal has it.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
