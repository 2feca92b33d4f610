"""Where the documents and the mail server are; each part can be set by an environment variable."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("DOCUMENTS_FOLDER", Path(__file__).parent / "library"))
"""The documents: `.md` and `.txt`, in folders of folders if you like."""

SMTP_HOST = os.environ.get("DOCUMENTS_SMTP_HOST", "127.0.0.1")
SMTP_PORT = int(os.environ.get("DOCUMENTS_SMTP_PORT", "8481"))
MAILS_PORT = int(os.environ.get("DOCUMENTS_MAILS_PORT", "8482"))
"""Where the example's own mail server shows over HTTP what it got."""

SENDER = os.environ.get("DOCUMENTS_SENDER", "Tidewater Instruments <office@tidewater.example>")
