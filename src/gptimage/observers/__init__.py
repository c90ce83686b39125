"""The events of a call, and the protocol of observers.

Ready-made observers are in modules of their own, because some need an extra.
"""

from __future__ import annotations

from gptimage.observers.events import CacheHit as CacheHit
from gptimage.observers.events import Event as Event
from gptimage.observers.events import Failed as Failed
from gptimage.observers.events import Finished as Finished
from gptimage.observers.events import PartialArrived as PartialArrived
from gptimage.observers.events import Planned as Planned
from gptimage.observers.events import Retried as Retried
from gptimage.observers.events import Saved as Saved
from gptimage.observers.events import Sent as Sent
from gptimage.observers.events import Submitted as Submitted
from gptimage.observers.events import Waiting as Waiting
from gptimage.observers.protocol import Observer as Observer
