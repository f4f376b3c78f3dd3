#!/usr/bin/env bash
# The queue argument that means "never drop a returned message" on RabbitMQ 4 makes RabbitMQ 3.10 drop it at once.
#
# RabbitMQ 4 limits how often a quorum queue delivers a message, and `x-delivery-limit: -1` lifts that limit. A
# program that has to run on older servers, too, would expect them either to refuse the argument or to take it as "no
# limit", which is what they do without it.
#
# RabbitMQ 3.10.8 accepts the declaration without a word. It then counts the first return as one too many: the message
# is gone after one delivery and one basic.nack with requeue. With a dead-letter exchange it goes there; without one
# it is lost. RabbitMQ 4.0.5 delivers the same message again and again (30 times here, where the default limit would
# be 20).
#
# Seen: deliveries before the message was gone: 3.10.8 with -1: 1; 3.10.8 with 1000000: not gone after 30; 4.0.5 with
# -1: not gone after 30; 4.0.5 with 1000000: not gone after 30.
#
# What it means: a queue that must work on both takes a large positive limit instead of -1.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

deliveries() {
    "$PYTHON" - "$AMQP" "$1" <<'END'
import sys, time
import pika

port, limit = map(int, sys.argv[1:])
channel = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).channel()
channel.confirm_delivery()
queue = f"limit {limit}"
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": limit})
channel.basic_publish("", queue, b"work")
for count in range(30):
    for _ in range(20):
        method, _, _ = channel.basic_get(queue)
        if method:
            break
        time.sleep(0.05)
    else:
        print("gone after", count)
        break
    channel.basic_nack(method.delivery_tag, requeue=True)
else:
    print("still there after 30")
END
}

pip pika==1.4.4
debian bookworm rabbitmq-server
rabbitmq bookworm
expect "RabbitMQ of bookworm, limit -1" "$(deliveries -1)" "gone after 1"
expect "RabbitMQ of bookworm, limit 1000000" "$(deliveries 1000000)" "still there after 30"
debian trixie rabbitmq-server
rabbitmq trixie
expect "RabbitMQ of trixie, limit -1" "$(deliveries -1)" "still there after 30"
expect "RabbitMQ of trixie, limit 1000000" "$(deliveries 1000000)" "still there after 30"
echo "as described"
