"""MTS Communicator: SMS, by SOAP or by its HTTP form."""
