"""A service that is not written in Rust: starts a sync over AMQP, follows its events, cancels it and sees it end.

Usage: AMQP_URL=amqp://... python pika_client.py CONNECTION_ID [NAMESPACE]

Prints what it receives, a JSON object on each line: first the reply to the start, then each event of the job, and the
reply to the cancel among them. Nothing here knows Backhaul beyond its published messages.
"""

import json
import os
import sys
import uuid

import pika


def main() -> int:
    connection_id = sys.argv[1]
    namespace = sys.argv[2] if len(sys.argv) > 2 else "backhaul"
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.confirm_delivery()
    inbox = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(inbox, f"{namespace}.events", "job.#")

    def command(key: str, body: dict) -> str:
        """Publishes a command whose reply comes to the inbox; returns how to recognise it."""
        identity = str(uuid.uuid4())
        properties = pika.BasicProperties(
            message_id=identity, correlation_id=identity, reply_to=inbox, type=key,
            content_type="application/json", delivery_mode=2,
        )
        channel.basic_publish(f"{namespace}.commands", key, json.dumps(body), properties, mandatory=True)
        return identity

    job_id = str(uuid.uuid4())
    start = command("sync.start", {"connection_id": connection_id, "job_id": job_id, "requested_by": "pika"})
    cancel = None
    end = 1
    for method, properties, body in channel.consume(inbox, auto_ack=True, inactivity_timeout=60):
        if method is None:
            print("nothing was heard for a minute", file=sys.stderr)
            break
        message = json.loads(body)
        if properties.type == "reply":
            of = {start: "start", cancel: "cancel"}.get(properties.correlation_id)
            print(json.dumps({"reply_to": of, **message}), flush=True)
            if not message["accepted"]:
                break
        elif message["job_id"] == job_id:
            print(json.dumps(message), flush=True)
            if message["event"] == "started" and cancel is None:
                cancel = command("sync.cancel", {"job_id": job_id, "reason": "seen enough", "requested_by": "pika"})
            if message["event"] in ("completed", "failed", "cancelled"):
                end = 0
                break
    connection.close()
    return end


if __name__ == "__main__":
    sys.exit(main())
