"""The same as pika_client.py, with kombu: it declares the exchanges that it uses, as its users do.

Usage: AMQP_URL=amqp://... python kombu_client.py CONNECTION_ID [NAMESPACE]
"""

import os
import sys
import json
import uuid

from kombu import Connection, Consumer, Exchange, Producer, Queue


def main() -> int:
    connection_id = sys.argv[1]
    namespace = sys.argv[2] if len(sys.argv) > 2 else "backhaul"
    with Connection(os.environ["AMQP_URL"], transport_options={"confirm_publish": True}) as connection:
        channel = connection.channel()
        commands = Exchange(f"{namespace}.commands", type="topic", durable=True)(channel)
        events = Exchange(f"{namespace}.events", type="topic", durable=True)
        inbox = Queue(f"{namespace}.kombu-{uuid.uuid4()}", events, routing_key="job.#", exclusive=True, auto_delete=True)
        commands.declare()
        inbox(channel).declare()
        producer = Producer(channel, exchange=commands)
        job_id = str(uuid.uuid4())

        def command(key: str, body: dict) -> None:
            producer.publish(body, routing_key=key, serializer="json", correlation_id=key, reply_to=inbox.name)

        over = []

        def heard(body: object, received: object) -> None:
            message = body if isinstance(body, dict) else json.loads(body)
            if received.properties.get("type") == "reply":
                of = received.properties["correlation_id"].removeprefix("sync.")
                print(json.dumps({"reply_to": of, **message}), flush=True)
                if not message["accepted"]:
                    over.append(1)
            elif message["job_id"] == job_id:
                print(json.dumps(message), flush=True)
                if message["event"] == "started" and not asked:
                    asked.append(True)
                    command("sync.cancel", {"job_id": job_id, "reason": "seen enough", "requested_by": "kombu"})
                if message["event"] in ("completed", "failed", "cancelled"):
                    over.append(0)

        asked: list[bool] = []
        with Consumer(channel, [inbox], callbacks=[heard], accept=["json"], no_ack=True):
            command("sync.start", {"connection_id": connection_id, "job_id": job_id, "requested_by": "kombu"})
            while not over:
                connection.drain_events(timeout=60)
        return over[0]


if __name__ == "__main__":
    sys.exit(main())
