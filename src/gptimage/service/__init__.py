"""What servers that draw for others share: work in a process that its server does not take along.

An assistant's client owns the server it started and kills it when it closes. A request that has
left is paid all the same, so it is made in a process of its own; see `Runner`.
"""

from __future__ import annotations

from gptimage.service.callers import Tenants as Tenants
from gptimage.service.callers import as_caller as as_caller
from gptimage.service.callers import current_caller as current_caller
from gptimage.service.local import LocalRunner as LocalRunner
from gptimage.service.runner import Runner as Runner
from gptimage.service.runner import RunnerError as RunnerError
from gptimage.service.runner import RunnerLostError as RunnerLostError
from gptimage.service.work import Tell as Tell
from gptimage.service.work import Work as Work
