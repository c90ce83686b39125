"""Checks of images: transparent, legible, in the right colours, and what you ask of them."""

from __future__ import annotations

from gptimage.checks.attempts import Attempt as Attempt
from gptimage.checks.attempts import Attempts as Attempts
from gptimage.checks.attempts import max_question_cost as max_question_cost
from gptimage.checks.check import AnyCheck as AnyCheck
from gptimage.checks.check import Check as Check
from gptimage.checks.check import CheckResult as CheckResult
from gptimage.checks.check import Question as Question
from gptimage.checks.named import NAMES as NAMES
from gptimage.checks.named import named_checks as named_checks
from gptimage.checks.pixels import Drift as Drift
from gptimage.checks.pixels import Margins as Margins
from gptimage.checks.pixels import Palette as Palette
from gptimage.checks.pixels import Pixels as Pixels
from gptimage.checks.pixels import Transparent as Transparent
from gptimage.checks.pixels import Unlike as Unlike
from gptimage.checks.words import Line as Line
from gptimage.checks.words import Read as Read
from gptimage.checks.words import Words as Words
