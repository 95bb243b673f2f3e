"""The page at `/`: what came last, the rules in force, and the recipients that misbehave."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS
from sandbox.received import Record

EXCERPT_CHARACTERS = 200

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width">
<title>Postroom sandbox: $total received</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
         border-bottom: 1px solid #ddd }
td { overflow-wrap: anywhere }
.refused, .hung, .dropped { color: #a33 }
</style>
<h1>Postroom sandbox</h1>
<p>Providers played for this machine: nothing that arrives here goes any further.
<strong>$total</strong> taken, <strong>$distinct</strong> of them different
(by Idempotency-Key or Message-ID). The latest first; as JSON at
<a href="/received">/received</a>.</p>
<table>
<tr><th>#<th>at (UTC)<th>kind<th>outcome<th>to<th>text
$records
</table>
<h2>Recipients that misbehave</h2>
<table>
<tr><th>recipient<th>the sandbox
$magic
</table>
<h2>Rules in force</h2>
<p>Set with <code>PUT /control</code>, for example
<code>{"to": "+12025550123", "kind": "gateway", "do": {"status": 503}, "times": 2}</code>.</p>
<ul>
$rules
</ul>
</html>
""")


def page(
    latest: Sequence[Record], counts: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]
) -> str:
    """The page as HTML, made of nothing but itself."""
    numbers = [
        (f"a number ending in {ending}", magic.says) for ending, magic in MAGIC_NUMBERS.items()
    ]
    mailboxes = [(f"{name}@anywhere", magic.says) for name, magic in MAGIC_MAILBOXES.items()]
    return PAGE.substitute(
        total=counts["total"],
        distinct=counts["distinct"],
        records="\n".join(map(_record_row, latest)),
        magic="\n".join(_row(*cells) for cells in numbers + mailboxes),
        rules="\n".join(f"<li><code>{escape(str(rule))}</code>" for rule in rules) or "<li>none",
    )


def _record_row(record: Record) -> str:
    shown = record.as_json()
    text = " · ".join(
        filter(None, (shown.get("subject"), shown.get("text") or shown.get("content")))
    )
    outcome = record.outcome if record.copy == 1 else f"{record.outcome} (copy {record.copy})"
    return _row(
        record.seq,
        f"{record.received_at:%H:%M:%S.%f}"[:-3],
        record.kind,
        outcome,
        ", ".join(record.recipients),
        text[:EXCERPT_CHARACTERS],
        css_class=record.outcome,
    )


def _row(*cells: object, css_class: str = "") -> str:
    return f'<tr class="{css_class}">' + "".join(f"<td>{escape(str(cell))}" for cell in cells)
