"""What servers that draw for others share: work in a process that its server does not take along.

An assistant's client owns the server it started and kills it when it closes. A request that has
left is paid all the same, so it is made in a process of its own; see `Runner`.
"""

from __future__ import annotations

from gptimage.service.runner import Runner, RunnerError, RunnerLostError
from gptimage.service.work import Tell, Work


__all__ = ["Runner", "RunnerError", "RunnerLostError", "Tell", "Work"]
