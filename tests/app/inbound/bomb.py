"""Run the parsing process with an SMTP connector that takes whatever a mail says."""

import time
from typing import Any

from app.inbound import parser
from connectors.base import RawMail
from connectors.smtp.connector import Smtp


def explode(self: Any, mail: RawMail) -> list[Any]:
    match mail.content:
        case b"cpu":
            while True:
                pass
        case b"sleep":
            time.sleep(600)
        case b"memory":
            return [bytes(2 * parser.MEMORY_BYTES)]
        case b"error":
            raise RuntimeError("with content")
    return []


Smtp.parse_mail = explode  # type: ignore[method-assign]
parser.CPU_SECONDS = 0
parser.main()
