"""Where the example's services are; each part can be set by an environment variable."""

import os

AVAILABILITY_PORT = int(os.environ.get("TRAVEL_AVAILABILITY_PORT", "8471"))
BOOKING_PORT = int(os.environ.get("TRAVEL_BOOKING_PORT", "8472"))
TRANSFER_PORT = int(os.environ.get("TRAVEL_TRANSFER_PORT", "8473"))

AVAILABILITY_URL = os.environ.get("TRAVEL_AVAILABILITY_URL", f"http://127.0.0.1:{AVAILABILITY_PORT}")
RATES_URL = os.environ.get("TRAVEL_RATES_URL", AVAILABILITY_URL)
BOOKING_URL = os.environ.get("TRAVEL_BOOKING_URL", f"http://127.0.0.1:{BOOKING_PORT}")
TRANSFER_URL = os.environ.get("TRAVEL_TRANSFER_URL", f"http://127.0.0.1:{TRANSFER_PORT}")
