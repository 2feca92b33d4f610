"""Who makes a call, and by which policy: tools, routes, candidates, prices, limits, circuits, budgets.

Nothing is called here; what a route decides at run time is in `segue.streams.calls`.
"""
