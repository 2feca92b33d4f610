"""The broker on this machine, the services of examples, and what `segue dev` runs.

A worker on a cluster needs none of it.
"""

from segue.topics.extras import require

require("local")
