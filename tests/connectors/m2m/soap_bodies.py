"""Settings and SOAP responses that several tests use."""

RECIPIENT = "+79161234567"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"

API_KEY = {"api_key": "sandbox-m2m-api-key"}
LOGIN = {"login": "gw_login", "password": "gw_password"}
OMNICHANNEL = {"mode": "omnichannel", "sender": "RELAY", **LOGIN}


def fault_11(name: str, number: str = "506") -> bytes:
    """Return a fault as recorded from the service."""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="{SOAP_11}"><soap:Body><soap:Fault>
  <faultcode>soap:Client</faultcode><faultstring>{name}</faultstring>
  <faultactor>http://www.mcommunicator.ru/m2m/m2m_api.asmx</faultactor>
  <detail><code xmlns="http://mcommunicator.ru/M2M/">{number}</code>
  <description xmlns="http://mcommunicator.ru/M2M/">{name}</description></detail>
</soap:Fault></soap:Body></soap:Envelope>""".encode()


def fault_12(name: str) -> bytes:
    return f"""<s:Envelope xmlns:s="{SOAP_12}"><s:Body><s:Fault>
  <s:Code><s:Value>s:Sender</s:Value></s:Code>
  <s:Reason><s:Text xml:lang="en">{name}</s:Text></s:Reason>
</s:Fault></s:Body></s:Envelope>""".encode()


def sent_as(message_id: str) -> bytes:
    return f"""<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP_12}">
<soap:Body><SendMessageResponse xmlns="http://mcommunicator.ru/M2M">
<SendMessageResult>{message_id}</SendMessageResult></SendMessageResponse>
</soap:Body></soap:Envelope>""".encode()


def statuses(*deliveries: tuple[str, str, str]) -> bytes:
    """Return the status response for messages with these ids, statuses and dates."""
    entries = "".join(
        f"<MessageStatusWithID><MessageID>{message_id}</MessageID><Delivery><DeliveryInfo>"
        f"<Msid>79161234567</Msid><DeliveryStatus>{status}</DeliveryStatus>"
        f"<DeliveryDate>{date}</DeliveryDate><UserDeliveryDate i:nil='true'/>"
        "<PartCount>2</PartCount></DeliveryInfo></Delivery></MessageStatusWithID>"
        for message_id, status, date in deliveries
    )
    return f"""<s:Envelope xmlns:s="{SOAP_12}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
<s:Body><GetMessagesStatusResponse xmlns="http://mcommunicator.ru/M2M"><GetMessagesStatusResult>
{entries}</GetMessagesStatusResult></GetMessagesStatusResponse></s:Body></s:Envelope>""".encode()
