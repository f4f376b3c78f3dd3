#!/usr/bin/env bash
# A JSON text that an AMQP 1.0 client sends reaches an AMQP 0.9.1 consumer with binary bytes in front, and its reply
# address means nothing there on RabbitMQ 4.0, but does on 4.3.
#
# RabbitMQ 4 speaks both protocols, so one would expect a consumer to get `{"n":1}` when the sender's body is that
# text, and a reply_to that it can publish to.
#
# With python-qpid-proton 0.40.0, Message(body='{"n":1}') arrives as five bytes of AMQP 1.0 encoding (00 53 77 a1 07)
# and the text; the property `type` says `amqp-1.0`. Python bytes fare the same (00 53 77 a0 07). Only bytes with
# inferred=True, which makes them a data section, arrive as they are. The reply address `/queues/answers`, the form
# that RabbitMQ 4 wants from AMQP 1.0 clients, arrives unchanged on 4.0.5; an answer that is published to the queue of
# that name through the default exchange is lost without an error. On 4.3.6 it arrives as `answers`.
#
# Seen: text: b'\x00Sw\xa1\x07{"n":1}' type amqp-1.0; bytes: b'\x00Sw\xa0\x07{"n":1}' type amqp-1.0; inferred bytes:
# b'{"n":1}' type None (both versions). reply_to: 4.0.5 /queues/answers, 4.3.6 answers.
#
# What it means: a consumer that takes JSON looks at `type` and at the first byte, and either takes the encoding off
# or says in its refusal what the sender must do. It reads `/queues/NAME` as NAME, and publishes answers with
# `mandatory`.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

arrivals() {
    "$PYTHON" - "$AMQP" <<'END'
import sys
import pika
from proton import Message
from proton.utils import BlockingConnection

port = int(sys.argv[1])
channel = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).channel()
channel.queue_declare("commands", durable=True)
connection = BlockingConnection(f"amqp://guest:guest@127.0.0.1:{port}", allowed_mechs="PLAIN", timeout=20)
sender = connection.create_sender("/queues/commands")
for how in ({"body": '{"n":1}'}, {"body": b'{"n":1}'}, {"body": b'{"n":1}', "inferred": True}):
    sender.send(Message(reply_to="/queues/answers", **how))
connection.close()
while True:
    method, properties, body = channel.basic_get("commands", auto_ack=True)
    if not method:
        break
    print(body, "type", properties.type, "reply_to", properties.reply_to)
END
}

described() {
    cat <<END
b'\\x00Sw\\xa1\\x07{"n":1}' type amqp-1.0 reply_to $1
b'\\x00Sw\\xa0\\x07{"n":1}' type amqp-1.0 reply_to $1
b'{"n":1}' type None reply_to $1
END
}

pip pika==1.4.4 python-qpid-proton==0.40.0
debian trixie rabbitmq-server
rabbitmq trixie
expect "RabbitMQ of trixie" "$(arrivals)" "$(described /queues/answers)"
debian sid rabbitmq-server
rabbitmq sid
expect "RabbitMQ of sid" "$(arrivals)" "$(described answers)"
echo "as described"
