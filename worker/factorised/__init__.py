"""Evaluates grid points at the cost of the recurrent tail: variants once, prefixes kept, children in lockstep."""

from worker.factorised.evaluator import FactorisedEvaluator

__all__ = ["FactorisedEvaluator"]
