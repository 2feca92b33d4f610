"""Declarations of calls: tools, routes, candidates, policies, prices, limits, circuit breakers, budgets.

Nothing is called here; the decisions of a route at run time are in `segue.streams.calls`.
"""
