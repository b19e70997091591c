"""amqps with pika: by password, by certificate, and what is refused. Called with a port and the folder of the
certificates; ends with "ok"."""

import ssl
import sys
import uuid
from pathlib import Path

import pika
from pika import exceptions

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])


def connect(certificate=None, credentials=None, trusted=True):
    context = ssl.create_default_context(cafile=FOLDER / "root.pem" if trusted else None)
    if certificate:
        context.load_cert_chain(FOLDER / f"{certificate}.pem", FOLDER / f"{certificate}.key")
    parameters = pika.ConnectionParameters(
        "localhost",
        PORT,
        credentials=credentials or pika.PlainCredentials("guest", "guest"),
        ssl_options=pika.SSLOptions(context, "localhost"),
        connection_attempts=1,
        heartbeat=10,
    )
    return pika.BlockingConnection(parameters)


def works(connection, user):
    """Bodies of many sizes go through, more than one TLS record and more than one frame among them."""
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    sizes = [0, 1, 16_383, 16_384, 131_064, 131_065, 3_000_000]
    for size in sizes:
        properties = pika.BasicProperties(user_id=user, message_id=uuid.uuid4().hex)
        channel.basic_publish("", queue, b"x" * size, properties, mandatory=True)
    got = []
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=10):
        assert method is not None, "nothing came in 10 s"
        assert properties.user_id == user
        got.append(len(body))
        if len(got) == len(sizes):
            break
    assert got == sizes, got
    channel.cancel()
    connection.close()


def refused(kinds, **how):
    try:
        connect(**how)
    except kinds as why:
        return why
    raise AssertionError(f"{how} was let in")


LOGIN = (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError)
EXTERNAL = pika.credentials.ExternalCredentials

works(connect(), "guest")
print("by password", flush=True)
works(connect("orders", EXTERNAL()), "orders")
print("by certificate", flush=True)
works(connect("orders"), "guest")
print("a certificate does not hinder a password", flush=True)
refused(LOGIN, credentials=pika.PlainCredentials("guest", "wrong"))
refused(LOGIN, certificate="unknown", credentials=EXTERNAL())
print("a name that is no user's", flush=True)
refused((exceptions.AMQPError, OSError), credentials=EXTERNAL())
print("no certificate", flush=True)
refused((exceptions.AMQPError, OSError), certificate="forged", credentials=EXTERNAL())
print("a certificate nobody vouches for", flush=True)
refused((exceptions.AMQPError, OSError), trusted=False)
print("a server the client does not trust", flush=True)
works(connect("orders", EXTERNAL()), "orders")
print("ok")
