#!/usr/bin/env bash
# RabbitMQ 4.3 answers "ok" to a prefetch limit for the whole channel, and then gives that many to each consumer.
#
# basic.qos with `global` set limits what all consumers of a channel hold together. It is how a program with several
# consumers keeps to, say, five calls at a time. One would expect a server that no longer knows the flag to refuse it.
#
# RabbitMQ 4.0.5 keeps to it on a classic queue: three consumers hold 5 messages of 40 together. On a quorum queue it
# ends the connection (540, "does not support global qos"), which nobody can miss. RabbitMQ 4.3.6 replies basic.qos-ok
# and applies the limit to each consumer: the same program holds 15, on both kinds of queue. Only an error in
# the server's log says so, and which setting would permit it.
#
# Seen: held by three consumers with a global prefetch of 5: 4.0.5 classic: 5, quorum: error 540; 4.3.6 classic: 15,
# quorum: 15.
#
# What it means: an upgrade multiplies the load on whatever the limit protects. Count the slots in the consumer, and
# set basic.qos without `global`, for one consumer a channel.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

held() {
    "$PYTHON" - "$AMQP" "$1" <<'END'
import sys, time
import pika

port, kind = int(sys.argv[1]), sys.argv[2]
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
publisher = connection.channel()
publisher.confirm_delivery()
publisher.queue_declare(kind, durable=True, arguments={"x-queue-type": kind})
for _ in range(40):
    publisher.basic_publish("", kind, b"work")
channel = connection.channel()
held = []
try:
    channel.basic_qos(prefetch_count=5, global_qos=True)
    for _ in range(3):
        channel.basic_consume(kind, lambda *delivery: held.append(delivery))
    until = time.monotonic() + 2
    while time.monotonic() < until:
        connection.process_data_events(0.2)
    print(len(held))
except pika.exceptions.ConnectionClosedByBroker as error:
    print("error", error.reply_code)
END
}

pip pika==1.4.4
debian trixie rabbitmq-server
rabbitmq trixie
expect "RabbitMQ of trixie, classic queue" "$(held classic)" 5
expect "RabbitMQ of trixie, quorum queue" "$(held quorum)" "error 540"
debian sid rabbitmq-server
rabbitmq sid
expect "RabbitMQ of sid, classic queue" "$(held classic)" 15
expect "RabbitMQ of sid, quorum queue" "$(held quorum)" 15
echo "as described"
