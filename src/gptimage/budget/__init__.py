"""Budgets and the ledger: what may be spent, and what was."""

from __future__ import annotations

from gptimage.budget.budget import Budget as Budget
from gptimage.budget.ledger import Ledger as Ledger
from gptimage.transport.billing import Billing as Billing
