"""Sending requests: the protocols a transport of your own implements, and the values they use."""

from __future__ import annotations

from gptimage.transport.environment import check_environment as check_environment
from gptimage.transport.environment import check_key as check_key
from gptimage.transport.http import EventDecoder as EventDecoder
from gptimage.transport.http import FilePart as FilePart
from gptimage.transport.http import HttpReply as HttpReply
from gptimage.transport.http import HttpRequest as HttpRequest
from gptimage.transport.http import ServerEvent as ServerEvent
from gptimage.transport.protocols import AsyncDownload as AsyncDownload
from gptimage.transport.protocols import AsyncEventStream as AsyncEventStream
from gptimage.transport.protocols import AsyncReplyParts as AsyncReplyParts
from gptimage.transport.protocols import AsyncSupportsDownload as AsyncSupportsDownload
from gptimage.transport.protocols import AsyncTransport as AsyncTransport
from gptimage.transport.protocols import Download as Download
from gptimage.transport.protocols import EventStream as EventStream
from gptimage.transport.protocols import ReplyParts as ReplyParts
from gptimage.transport.protocols import SupportsDownload as SupportsDownload
from gptimage.transport.protocols import Transport as Transport
