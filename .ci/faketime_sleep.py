"""Lets Python sleep under libfaketime; imported at start by the session `dates`.

`time.sleep` waits until a moment of the monotonic clock. libfaketime 0.9.10 takes that moment
for a moved one although it is told to leave this clock alone, and the call fails with EINVAL.
Waiting for nothing on no files takes a length of time instead.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep
