"""Parts of an HTTP server that the MCP server and other pages share; needs Starlette.

Each is an ASGI middleware or a response, knows nothing of the others, and takes its limits as
arguments: hosts and origins, bodies, rates, addresses behind a proxy, signed links, and a job as
server-sent events.
"""

from __future__ import annotations

from gptimage.service.http.asgi import ASGIApp as ASGIApp
from gptimage.service.http.asgi import JsonError as JsonError
from gptimage.service.http.bodies import BodyLimitMiddleware as BodyLimitMiddleware
from gptimage.service.http.events import FollowedJob as FollowedJob
from gptimage.service.http.events import JobEvents as JobEvents
from gptimage.service.http.events import JobProgress as JobProgress
from gptimage.service.http.forwarded import ForwardedMiddleware as ForwardedMiddleware
from gptimage.service.http.forwarded import address_of as address_of
from gptimage.service.http.hosts import Allowlist as Allowlist
from gptimage.service.http.hosts import HostOriginMiddleware as HostOriginMiddleware
from gptimage.service.http.hosts import is_loopback as is_loopback
from gptimage.service.http.images import image_response as image_response
from gptimage.service.http.links import LinkError as LinkError
from gptimage.service.http.links import SignedLinks as SignedLinks
from gptimage.service.http.rates import UNCOUNTED as UNCOUNTED
from gptimage.service.http.rates import RateLimitMiddleware as RateLimitMiddleware
from gptimage.service.http.rates import TokenBuckets as TokenBuckets
from gptimage.service.http.rates import client_of as client_of
