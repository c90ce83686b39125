"""Models and qualities compared on the same prompts: one sheet, with costs, checks and votes."""

from __future__ import annotations

from gptimage.compare.comparison import Comparison as Comparison
from gptimage.compare.matrix import Case as Case
from gptimage.compare.matrix import Cell as Cell
from gptimage.compare.matrix import read_set as read_set
from gptimage.compare.votes import Standing as Standing
from gptimage.compare.votes import record as record
