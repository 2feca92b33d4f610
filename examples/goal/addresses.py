"""Where the shop is; it can be set by an environment variable."""

import os

SHOP_PORT = int(os.environ.get("GOAL_SHOP_PORT", "8501"))
SHOP_URL = os.environ.get("GOAL_SHOP_URL", f"http://127.0.0.1:{SHOP_PORT}")
