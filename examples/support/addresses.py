"""Where the example's services are; each part can be set by an environment variable."""

import os

SHOP_PORT = int(os.environ.get("SUPPORT_SHOP_PORT", "8491"))
CHAT_PORT = int(os.environ.get("SUPPORT_CHAT_PORT", "8492"))

SHOP_URL = os.environ.get("SUPPORT_SHOP_URL", f"http://127.0.0.1:{SHOP_PORT}")
CHAT_URL = os.environ.get("SUPPORT_CHAT_URL", f"http://127.0.0.1:{CHAT_PORT}")
