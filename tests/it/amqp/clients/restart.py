"""What pika finds again after the broker was restarted. Called with a URL, writes a transcript.

A line "> stop" or "> kill" asks for a restart; the new URL is then read from the standard input.
"""

import re
import signal
import sys

import pika
from pika import exceptions

PREFIX = "py-"
ARGUMENTS = {"x-max-length": 6, "x-dead-letter-exchange": PREFIX + "dead"}


def name(word):
    return PREFIX + word


def say(*words):
    print(*words, flush=True)


def wording(text):
    """Without what differs between clients: the names' prefix, the type of a number."""
    return re.sub(r" of type '\w+'", "", text.replace(PREFIX, ""))


def confirming(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def publish(channel, exchange, key, body, mode=2):
    """Returns when it is routed and confirmed."""
    properties = pika.BasicProperties(
        delivery_mode=mode, message_id="m" + body, content_type="text/plain", headers={"number": body, "deep": {"list": [1, "two"]}}
    )
    channel.basic_publish(name(exchange), key, body.encode(), properties, mandatory=True)


def declare(connection):
    channel = connection.channel()
    channel.exchange_declare(name("events"), "topic", durable=True)
    channel.exchange_declare(name("dead"), "fanout", durable=True)
    channel.exchange_declare(name("passing"), "topic")
    channel.queue_declare(name("work"), durable=True, arguments=ARGUMENTS)
    channel.queue_declare(name("graves"), durable=True)
    channel.queue_declare(name("passing"))
    channel.queue_bind(name("work"), name("events"), "order.*")
    channel.queue_bind(name("graves"), name("dead"), "")
    channel.queue_bind(name("passing"), name("events"), "order.*")


def died(properties):
    deaths = properties.headers.get("x-death", [])
    first = [properties.headers.get("x-first-death-" + word) for word in ["reason", "queue", "exchange"]]
    each = [[d["reason"], d["queue"], d["exchange"], int(d["count"]), *d["routing-keys"]] for d in deaths]
    return wording(f"{each} first {first}".replace("'", "").replace("None", "null"))


def describe(method, properties, body):
    again = "redelivered" if method.redelivered else "first"
    assert properties.message_id == "m" + body.decode() and properties.content_type == "text/plain"
    assert properties.headers["number"] == body.decode() and properties.headers["deep"] == {"list": [1, "two"]}
    return f"{body.decode()} {again} mode={properties.delivery_mode} key={method.routing_key}"


def take(connection, count):
    """These messages of the work queue and no more; the channel stays open with them unacknowledged."""
    channel = confirming(connection)
    channel.basic_qos(prefetch_count=count)
    taken = []
    tag = channel.basic_consume(name("work"), lambda _c, *delivery: taken.append(delivery))
    while len(taken) < count:
        connection.process_data_events(1)
    channel.basic_cancel(tag)
    for delivery in taken:
        say("work:", describe(*delivery))
    return channel, [method.delivery_tag for method, _, _ in taken]


def graves(connection, count):
    """All dead letters, which are given back."""
    channel = connection.channel()
    while channel.queue_declare(name("graves"), passive=True).method.message_count < count:
        connection.sleep(0.05)
    while True:
        method, properties, body = channel.basic_get(name("graves"))
        if method is None:
            break
        say("graves:", describe(method, properties, body), died(properties))
    channel.close()


def refused(connection, step):
    channel = connection.channel()
    try:
        step(channel)
    except exceptions.ChannelClosedByBroker as closed:
        say("refused:", closed.reply_code, wording(closed.reply_text))
    else:
        raise AssertionError("not refused")


def topology(connection):
    channel = connection.channel()
    for exchange in ["events", "dead"]:
        channel.exchange_declare(name(exchange), passive=True)
    for queue in ["work", "graves"]:
        say(f"{queue} has {channel.queue_declare(name(queue), passive=True).method.message_count}")
    channel.exchange_declare(name("events"), "topic", durable=True)
    channel.queue_declare(name("work"), durable=True, arguments=ARGUMENTS)
    refused(connection, lambda channel: channel.exchange_declare(name("passing"), passive=True))
    refused(connection, lambda channel: channel.queue_declare(name("passing"), passive=True))
    refused(connection, lambda channel: channel.exchange_declare(name("events"), "direct", durable=True))
    refused(connection, lambda channel: channel.queue_declare(name("work"), durable=True))
    otherwise = {**ARGUMENTS, "x-max-length": 7}
    refused(connection, lambda channel: channel.queue_declare(name("work"), durable=True, arguments=otherwise))


def connect(url):
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 60
    return pika.BlockingConnection(parameters)


def restarted(connection, how):
    say(">", how)
    try:
        while True:
            connection.process_data_events(1)
    except exceptions.ConnectionClosedByBroker as closed:
        say("closed:", closed.reply_code, closed.reply_text)
    except exceptions.AMQPConnectionError:
        say("closed: connection lost")
    return connect(sys.stdin.readline().strip())


def before(connection):
    declare(connection)
    channel = confirming(connection)
    for body in "12345":
        publish(channel, "events", "order.new", body)
    publish(channel, "events", "order.new", "6", mode=1)
    publish(channel, "events", "order.new", "7")  # and 1 is one too many
    channel, tags = take(connection, 4)
    channel.basic_ack(tags[0])
    channel.basic_reject(tags[1], requeue=False)
    graves(connection, 2)
    # Once these are on disk, the settlements before them are too.
    publish(channel, "events", "order.new", "8")
    publish(channel, "dead", "direct", "9")


def after_a_stop(connection):
    topology(connection)
    publish(confirming(connection), "events", "order.late", "10")
    channel, tags = take(connection, 5)
    graves(connection, 3)
    channel.basic_ack(tags[0])
    publish(channel, "events", "order.late", "11", mode=1)
    publish(channel, "events", "order.late", "12")
    publish(channel, "dead", "direct", "13")


def after_a_kill(connection):
    topology(connection)
    publish(confirming(connection), "events", "order.later", "14")
    channel, tags = take(connection, 6)
    channel.basic_ack(tags[-1], multiple=True)
    graves(connection, 4)
    say(f"work has {channel.queue_declare(name('work'), passive=True).method.message_count}")


signal.alarm(300)
connection = connect(sys.argv[1])
before(connection)
connection = restarted(connection, "stop")
after_a_stop(connection)
connection = restarted(connection, "kill")
after_a_kill(connection)
connection.close()
say("ok")
