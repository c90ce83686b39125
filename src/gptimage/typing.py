"""Every name that annotations need, in one place: `gptimage.typing.Item`, `gptimage.typing.Batch`.

What is used by name is in the root or in the package of its topic; this module only repeats it, and
loads no network, image or command line package of others that `import gptimage` does not.
"""

from __future__ import annotations

from gptimage.async_client import AsyncImageClient as AsyncImageClient
from gptimage.batch import AsyncBatch as AsyncBatch
from gptimage.batch import Batch as Batch
from gptimage.batch import BatchItem as BatchItem
from gptimage.batch import BatchParts as BatchParts
from gptimage.batch import BatchStatus as BatchStatus
from gptimage.bulk import CheckpointPath as CheckpointPath
from gptimage.bulk import Item as Item
from gptimage.bulk import Progress as Progress
from gptimage.bulk import ProgressCallback as ProgressCallback
from gptimage.bulk import RequestInput as RequestInput
from gptimage.bulk import Stop as Stop
from gptimage.cache import Cache as Cache
from gptimage.cache import CacheEntry as CacheEntry
from gptimage.cache import CacheStats as CacheStats
from gptimage.checks import AnyCheck as AnyCheck
from gptimage.checks import Attempt as Attempt
from gptimage.checks import Attempts as Attempts
from gptimage.checks import Check as Check
from gptimage.checks import CheckResult as CheckResult
from gptimage.client import ImageClient as ImageClient
from gptimage.compare import Case as Case
from gptimage.compare import Comparison as Comparison
from gptimage.conversation import Action as Action
from gptimage.conversation import AsyncConversation as AsyncConversation
from gptimage.conversation import Conversation as Conversation
from gptimage.conversation import FailedCall as FailedCall
from gptimage.conversation import Resume as Resume
from gptimage.conversation import Turn as Turn
from gptimage.conversation import TurnCall as TurnCall
from gptimage.conversation import TurnCompleted as TurnCompleted
from gptimage.conversation import TurnOptions as TurnOptions
from gptimage.engine.config import ClientSettings as ClientSettings
from gptimage.engine.config import Settings as Settings
from gptimage.image import Box as Box
from gptimage.image import Format as Format
from gptimage.image import ImageSource as ImageSource
from gptimage.limits import Limiter as Limiter
from gptimage.observers import Event as Event
from gptimage.observers import Observer as Observer
from gptimage.sandbox import Sandbox as Sandbox
from gptimage.sandbox import SandboxServer as SandboxServer
from gptimage.store import Filters as Filters
from gptimage.store import Lineage as Lineage
from gptimage.store import Page as Page
from gptimage.store import PruneReport as PruneReport
from gptimage.store import Rank as Rank
from gptimage.store import RecoverReport as RecoverReport
from gptimage.store import Stats as Stats
from gptimage.store import VerifyReport as VerifyReport
from gptimage.templates import TemplateArgument as TemplateArgument
from gptimage.transport import AsyncTransport as AsyncTransport
from gptimage.transport import Transport as Transport
from gptimage.types.parameters import Background as Background
from gptimage.types.parameters import Moderation as Moderation
from gptimage.types.parameters import OutputFormat as OutputFormat
from gptimage.types.parameters import Quality as Quality
from gptimage.types.record import Original as Original
from gptimage.types.record import Record as Record
from gptimage.types.request import BatchOptions as BatchOptions
from gptimage.types.request import CallOptions as CallOptions
from gptimage.types.request import EditOptions as EditOptions
from gptimage.types.request import HasImages as HasImages
from gptimage.types.request import Options as Options
from gptimage.types.request import Source as Source
from gptimage.types.request import Sources as Sources
from gptimage.types.result import Completed as Completed
from gptimage.types.result import PartialImage as PartialImage
from gptimage.types.result import Result as Result
from gptimage.workers import Job as Job
from gptimage.workers import JobResult as JobResult
from gptimage.workers import JobStore as JobStore
