"""The web page: latest messages, magic recipients, and rules in force."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS
from sandbox.received import Record

MAX_EXCERPT_CHARACTERS = 200

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
<p>Simulated providers: messages that arrive here are not sent on.
<strong>$total</strong> delivered, <strong>$distinct</strong> of them distinct (by Idempotency-Key
or Message-ID). Latest first. As JSON: <a href="/received">/received</a>.</p>
<table>
<tr><th>#<th>time (UTC)<th>kind<th>outcome<th>to<th>text
$records
</table>
<h2>Magic recipients</h2>
<table>
<tr><th>recipient<th>what happens
$magic
</table>
<h2>Rules in force</h2>
<p>Add one with <code>PUT /control</code>, for example
<code>{"to": "+12025550123", "kind": "gateway", "do": {"status": 503}, "times": 2}</code>.</p>
<ul>
$rules
</ul>
</html>
""")


def render(
    latest: Sequence[Record], counts: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as HTML; it loads nothing else."""
    magic = {f"a number ending in {digits}": magic for digits, magic in MAGIC_NUMBERS.items()}
    magic |= {f"{name}@any domain": magic for name, magic in MAGIC_MAILBOXES.items()}
    return PAGE.substitute(
        total=counts["total"],
        distinct=counts["distinct"],
        records="\n".join(map(_record_row, latest)),
        magic="\n".join(_row(name, entry.description) for name, entry in magic.items()),
        rules="\n".join(f"<li><code>{escape(str(rule))}</code>" for rule in rules) or "<li>none",
    )


def _record_row(record: Record) -> str:
    fields = record.as_json()
    text = " · ".join(
        filter(None, (fields.get("subject"), fields.get("text") or fields.get("content")))
    )
    outcome = record.outcome if record.copy == 1 else f"{record.outcome} (copy {record.copy})"
    return _row(
        record.seq,
        f"{record.received_at:%H:%M:%S.%f}"[:-3],
        record.kind,
        outcome,
        ", ".join(record.recipients),
        text[:MAX_EXCERPT_CHARACTERS],
        css_class=record.outcome,
    )


def _row(*cells: object, css_class: str = "") -> str:
    return f'<tr class="{css_class}">' + "".join(f"<td>{escape(str(cell))}" for cell in cells)
