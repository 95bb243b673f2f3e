"""Any HTTP API: `/api/<anything>`, by any method, is answered with 200 and a JSON echo. What
follows `/api/` is the recipient."""

from urllib.parse import unquote
from uuid import uuid4

from sandbox.provider import Delivery, Provider, Request, json_answer
from sandbox.received import cut


def _read(request: Request) -> Delivery:
    to = unquote(request.path.removeprefix("/api").removeprefix("/"))
    echo = {"id": str(uuid4()), "method": request.method, "path": request.path}
    return Delivery(
        to=to,
        key=request.headers.get("idempotency-key"),
        details={
            **echo,
            "query": cut(request.query),
            "to": to,
            "content": cut(request.body.decode(errors="replace")),
            "headers": request.shown_headers(),
        },
        answer=json_answer(200, echo),
    )


API = Provider("api", "/api", _read)
