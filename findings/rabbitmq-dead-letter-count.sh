#!/usr/bin/env bash
# On RabbitMQ 4.3 the first look at a dead letter can delete it.
#
# A quorum queue gives up a message after some 20 returns (x-delivery-limit, 20 by default) and sends it to the
# dead-letter queue, where somebody should look at it. One would expect the letter to begin a new life there: as many
# looks as the second queue allows. A "look" here is what many tools do: basic.get without an acknowledgement, then
# close the channel.
#
# On RabbitMQ 4.0.5 it is so: the letter survives 20 looks and is gone after the 21st. On RabbitMQ 4.3.6 the letter
# keeps the count that it died with, so that in a second quorum queue with the same limit it is over the limit on
# arrival. It is delivered once, its return is one too many, and since the second queue dead-letters to nowhere, it is
# gone for good, without a line in the log. The header of that only delivery shows it: x-delivery-count is 21.
#
# Seen: 4.0.5: no count on the letter, gone after 21 looks; 4.3.6: count 21, gone after 1 look.
#
# What it means: give a dead-letter queue a large x-delivery-limit of its own, or make it a classic queue. Read
# letters with one consumer that keeps its channel open. An acknowledged copy in a table is safer than a letter.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

looks() {
    "$PYTHON" - "$AMQP" <<'END'
import sys, time
import pika

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))


def get(channel, queue):
    for _ in range(20):
        method, properties, _ = channel.basic_get(queue)
        if method:
            return method, properties
        time.sleep(0.05)
    return None, None


channel = connection.channel()
channel.confirm_delivery()
channel.queue_declare("letters", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_declare("work", durable=True, arguments={
    "x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters"})
channel.basic_publish("", "work", b"cannot be done")
while (method := get(channel, "work")[0]):
    channel.basic_reject(method.delivery_tag, requeue=True)

count, looks = None, 0
while True:
    channel = connection.channel()
    method, properties = get(channel, "letters")
    if not method:
        break
    if looks == 0:
        count = properties.headers.get("x-delivery-count")
    looks += 1
    channel.close()
print(f"count {count}, gone after {looks}")
END
}

pip pika==1.4.4
debian trixie rabbitmq-server
rabbitmq trixie
expect "RabbitMQ of trixie, a letter in a second queue" "$(looks)" "count None, gone after 21"
debian sid rabbitmq-server
rabbitmq sid
expect "RabbitMQ of sid, a letter in a second queue" "$(looks)" "count 21, gone after 1"
echo "as described"
