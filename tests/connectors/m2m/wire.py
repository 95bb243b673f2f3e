"""What MTS is sent and what it answers, as far as several tests need it."""

RECIPIENT = "+79161234567"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"

KEY = {"api_key": "sandbox-m2m-api-key"}
PAIR = {"login": "gw_login", "password": "gw_password"}
OMNICHANNEL = {"mode": "omnichannel", "sender": "RELAY", **PAIR}


def fault_11(name: str, number: str = "506") -> bytes:
    """As recorded from the service."""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="{SOAP_11}"><soap:Body><soap:Fault>
  <faultcode>soap:Client</faultcode><faultstring>{name}</faultstring>
  <faultactor>http://www.mcommunicator.ru/m2m/m2m_api.asmx</faultactor>
  <detail><code xmlns="http://mcommunicator.ru/M2M/">{number}</code>
  <description xmlns="http://mcommunicator.ru/M2M/">{name}</description></detail>
</soap:Fault></soap:Body></soap:Envelope>""".encode()


def fault_12(name: str, detail: str = "") -> bytes:
    return f"""<s:Envelope xmlns:s="{SOAP_12}"><s:Body><s:Fault>
  <s:Code><s:Value>s:Sender</s:Value></s:Code>
  <s:Reason><s:Text xml:lang="en">{name}</s:Text></s:Reason>{detail}
</s:Fault></s:Body></s:Envelope>""".encode()


def sent_as(message_id: str) -> bytes:
    return f"""<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP_12}">
<soap:Body><SendMessageResponse xmlns="http://mcommunicator.ru/M2M">
<SendMessageResult>{message_id}</SendMessageResult></SendMessageResponse>
</soap:Body></soap:Envelope>""".encode()
