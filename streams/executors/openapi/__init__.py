"""Calls of HTTP services by their OpenAPI documents: reading, requests and security.

How an app declares them is in `segue.processors.routing.openapi`.
"""

from segue.topics.extras import require

require("openapi")
