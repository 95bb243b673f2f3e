"""Tables of `agents.toml` to build files from."""

GATEWAY = """
[agents.gateway]
connector = "gateway"
[agents.gateway.settings]
url = "http://127.0.0.1:9/"
"""
SECOND = GATEWAY.replace("agents.gateway", "agents.second")
SMTP = """
[agents.smtp]
connector = "smtp"
settings = { host = "127.0.0.1", security = "plain", sender = "Us <us@example.com>" }
"""
SBA = """
[agents.sba]
connector = "sba"
settings = { token = "t" }
"""
