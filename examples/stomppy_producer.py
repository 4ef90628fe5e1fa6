"""A producer as people write it with stomp.py for ActiveMQ; it runs against stompd unchanged."""

import sys

import stomp

host, port = sys.argv[1:] or ("localhost", "61613")

connection = stomp.Connection([(host, int(port))])
connection.connect(login="admin", passcode="password", wait=True)
for number in range(3):
    connection.send(body=f"order {number}", destination="/queue/orders", persistent="true")
connection.disconnect()
print("sent 3 orders")
