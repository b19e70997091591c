"""A journey with pika: every step that its users take. Called with a URL; ends with "ok"."""

import sys
import uuid

import pika
from pika import exceptions

URL = sys.argv[1]
PREFIX = "py-" + uuid.uuid4().hex[:8] + "-"


def name(word):
    return PREFIX + word


def connect():
    parameters = pika.URLParameters(URL)
    parameters.heartbeat = 30
    parameters.client_properties = {"connection_name": "journey.py"}
    return pika.BlockingConnection(parameters)


def refused(connection, code, words, step):
    """The step closes its channel with this code and wording."""
    channel = connection.channel()
    try:
        step(channel)
        connection.process_data_events(0.2)
        channel.basic_qos(prefetch_count=1)
    except exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == code, closed
        assert words in closed.reply_text, closed
        return
    raise AssertionError(f"{code} {words}: not refused")


def work_queue(connection):
    channel = connection.channel()
    channel.queue_declare(name("work"), durable=True)
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        delivery_mode=2, content_type="text/plain", headers={"n": 1, "deep": {"list": [1, "two", None, True]}}
    )
    for number in range(10):
        channel.basic_publish("", name("work"), b"job %d" % number, properties, mandatory=True)
    channel.basic_qos(prefetch_count=3)
    bodies, again = [], []
    for method, found, body in channel.consume(name("work"), inactivity_timeout=5):
        assert method is not None, "nothing came in 5 s"
        assert found.headers == properties.headers and found.delivery_mode == 2
        if body == b"job 4" and not method.redelivered:
            channel.basic_nack(method.delivery_tag, requeue=True)
            again.append(body)
            continue
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(bodies) == 10:
            break
    channel.cancel()
    assert sorted(bodies) == sorted(b"job %d" % number for number in range(10)), bodies
    assert again == [b"job 4"]
    assert channel.queue_declare(name("work"), passive=True).method.message_count == 0
    channel.queue_delete(name("work"))
    channel.close()


def returned(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("amq.topic", name("nowhere"), b"x", mandatory=True)
    except exceptions.UnroutableError as unroutable:
        message = unroutable.messages[0]
        assert message.method.reply_code == 312 and message.body == b"x"
    else:
        raise AssertionError("unroutable and mandatory, but not returned")
    channel.queue_declare(name("full"), exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", name("full"), b"1")
    try:
        channel.basic_publish("", name("full"), b"2")
    except exceptions.NackError:
        pass
    else:
        raise AssertionError("a full queue did not nack")
    channel.close()


def topics(connection):
    channel = connection.channel()
    channel.exchange_declare(name("logs"), "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-")
    channel.queue_bind(queue, name("logs"), "kern.#")
    channel.queue_bind(queue, name("logs"), "*.critical")
    for key in ["kern.info", "app.info", "app.critical", "kern.critical", "kern"]:
        channel.basic_publish(name("logs"), key, key.encode())
    seen = []
    channel.basic_consume(queue, lambda _c, method, _p, body: seen.append((method.routing_key, body)), auto_ack=True)
    connection.process_data_events(0.5)
    assert [key for key, _ in seen] == ["kern.info", "app.critical", "kern.critical", "kern"], seen
    channel.close()


def calls(connection):
    server, client = connection.channel(), connection.channel()
    server.queue_declare(name("calls"), exclusive=True)

    def answer(channel, method, properties, body):
        channel.basic_publish(
            "", properties.reply_to, body.upper(), pika.BasicProperties(correlation_id=properties.correlation_id)
        )
        channel.basic_ack(method.delivery_tag)

    server.basic_consume(name("calls"), answer)
    answers = {}
    client.basic_consume(
        "amq.rabbitmq.reply-to", lambda _c, _m, properties, body: answers.update({properties.correlation_id: body}), True
    )
    for number in ["1", "2", "3"]:
        client.basic_publish(
            "",
            name("calls"),
            b"question " + number.encode(),
            pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=number),
        )
    for _ in range(50):
        connection.process_data_events(0.1)
        if len(answers) == 3:
            break
    assert answers == {number: b"QUESTION " + number.encode() for number in "123"}, answers


def dead_letters(connection):
    channel = connection.channel()
    channel.queue_declare(name("dead"), exclusive=True)
    channel.queue_declare(
        name("mortal"),
        exclusive=True,
        arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name("dead")},
    )
    channel.basic_publish("", name("mortal"), b"x")
    connection.sleep(0.5)
    _, properties, body = channel.basic_get(name("dead"), True)
    death = properties.headers["x-death"][0]
    assert body == b"x" and death["reason"] == "expired" and death["count"] == 1, death
    assert death["queue"] == name("mortal") and death["routing-keys"] == [name("mortal")]
    assert properties.headers["x-first-death-reason"] == "expired"
    channel.close()


def transactions(connection):
    channel = connection.channel()
    channel.queue_declare(name("tx"), exclusive=True)
    channel.tx_select()
    channel.basic_publish("", name("tx"), b"1")
    channel.tx_rollback()
    channel.basic_publish("", name("tx"), b"2")
    channel.tx_commit()
    assert channel.basic_get(name("tx"), True)[2] == b"2"
    assert channel.basic_get(name("tx"), True)[0] is None
    channel.close()


def cancelled_by_the_broker(connection):
    channel, other = connection.channel(), connection.channel()
    channel.queue_declare(name("gone"))
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    channel.basic_consume(name("gone"), lambda *_: None)
    other.queue_delete(name("gone"))
    connection.process_data_events(0.5)
    assert len(cancelled) == 1, "no basic.cancel came"


def large(connection):
    channel = connection.channel()
    channel.queue_declare(name("large"), exclusive=True)
    body = bytes(range(256)) * 20_000
    channel.basic_publish("", name("large"), body)
    connection.sleep(0.2)
    assert channel.basic_get(name("large"), True)[2] == body
    channel.close()


def exceptions_by_code(connection):
    refused(connection, 404, "no queue", lambda channel: channel.queue_declare(name("none"), passive=True))
    refused(connection, 404, "no exchange", lambda channel: channel.basic_publish(name("none"), "", b"x"))
    refused(connection, 403, "amq.*", lambda channel: channel.exchange_declare("amq.mine", "direct"))
    refused(connection, 406, "unknown delivery tag", lambda channel: channel.basic_ack(9))

    def twice(channel):
        channel.queue_declare(name("twice"), exclusive=True)
        channel.queue_declare(name("twice"), exclusive=True, arguments={"x-max-length": 1})

    refused(connection, 406, "inequivalent arg 'x-max-length'", twice)
    other = connect()
    connection.channel().queue_declare(name("mine"), exclusive=True)
    refused(other, 405, "exclusive access to locked queue", lambda channel: channel.basic_get(name("mine")))
    other.close()


def wrong_password():
    parameters = pika.URLParameters(URL)
    parameters.credentials = pika.PlainCredentials("guest", "wrong")
    try:
        pika.BlockingConnection(parameters)
    except (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError):
        return
    raise AssertionError("a wrong password was taken")


connection = connect()
for step in [
    work_queue, returned, topics, calls, dead_letters, transactions, cancelled_by_the_broker, large, exceptions_by_code
]:
    step(connection)
    print(step.__name__, flush=True)
wrong_password()
connection.close()
print("ok")
