"""The same as pika_client.py, with aio-pika: it declares the exchanges that it uses, as its users do.

Usage: AMQP_URL=amqp://... python aio_pika_client.py CONNECTION_ID [NAMESPACE]
"""

import asyncio
import json
import os
import sys
import uuid

import aio_pika


async def follow(connection_id: str, namespace: str) -> int:
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        commands = await channel.declare_exchange(f"{namespace}.commands", "topic", durable=True)
        events = await channel.declare_exchange(f"{namespace}.events", "topic", durable=True)
        inbox = await channel.declare_queue(exclusive=True)
        await inbox.bind(events, "job.#")
        job_id = str(uuid.uuid4())

        async def command(key: str, body: dict) -> None:
            message = aio_pika.Message(
                json.dumps(body).encode(),
                correlation_id=key,
                reply_to=inbox.name,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await commands.publish(message, key)

        await command("sync.start", {"connection_id": connection_id, "job_id": job_id, "requested_by": "aio-pika"})
        asked = False
        async with inbox.iterator(no_ack=True, timeout=60) as messages:
            async for received in messages:
                message = json.loads(received.body)
                if received.type == "reply":
                    of = received.correlation_id.removeprefix("sync.")
                    print(json.dumps({"reply_to": of, **message}), flush=True)
                    if not message["accepted"]:
                        return 1
                elif message["job_id"] == job_id:
                    print(json.dumps(message), flush=True)
                    if message["event"] == "started" and not asked:
                        asked = True
                        cancel = {"job_id": job_id, "reason": "seen enough", "requested_by": "aio-pika"}
                        await command("sync.cancel", cancel)
                    if message["event"] in ("completed", "failed", "cancelled"):
                        return 0
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(follow(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "backhaul")))
