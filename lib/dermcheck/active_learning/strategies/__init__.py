"""Strategies that choose what to label next: the same on the server and in the simulation."""

from dermcheck.active_learning.strategies.choosing import STRATEGIES, Choice, choose

__all__ = ["STRATEGIES", "Choice", "choose"]
