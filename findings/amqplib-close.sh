#!/usr/bin/env bash
# A Node program that publishes with amqplib and then closes the connection loses what it published, even one message.
#
# The client's close() returns a promise, and it is the orderly AMQP close. One would expect what was handed over
# before it to be sent first.
#
# amqplib 2.3.1 keeps what a channel publishes in that channel's own buffer until the event loop comes round.
# connection.close() overtakes these buffers: its promise is fulfilled, no error is raised, and nothing arrives.
# channel.close() goes through the channel's buffer, so that with it first everything arrives.
#
# Seen, RabbitMQ 3.10.8: connection.close() after 1 message: 0 arrive, after 1000: 0 arrive; channel.close() first: 1
# and 1000; a confirm channel with waitForConfirms() first: 1000.
#
# What it means: the short script that sends one command and ends is the one that loses it. Publish on a confirm
# channel and wait for the confirms; at least close the channel before the connection.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

arrived() { node "$WORK/publish.js" "$AMQP" "$1" "$2"; }

cat >"$WORK/publish.js" <<'END'
const amqplib = require('amqplib');

(async () => {
    const [port, ending, count] = process.argv.slice(2);
    const address = `amqp://guest:guest@127.0.0.1:${port}`;
    const connection = await amqplib.connect(address);
    const confirmed = ending === 'confirms';
    const channel = confirmed ? await connection.createConfirmChannel() : await connection.createChannel();
    await channel.assertQueue('commands');
    await channel.purgeQueue('commands');
    for (let i = 0; i < count; i++) channel.sendToQueue('commands', Buffer.from(`command ${i}`), { persistent: true });
    if (confirmed) await channel.waitForConfirms();
    if (ending === 'channel') await channel.close();
    await connection.close();

    await new Promise((resolve) => setTimeout(resolve, 1000));
    const second = await amqplib.connect(address);
    const { messageCount } = await (await second.createChannel()).checkQueue('commands');
    console.log(messageCount);
    await second.close();
})();
END

npm_install amqplib@2.3.1
debian bookworm rabbitmq-server
rabbitmq bookworm
expect "1 message, connection.close()" "$(arrived connection 1)" 0
expect "1000 messages, connection.close()" "$(arrived connection 1000)" 0
expect "1 message, channel.close() first" "$(arrived channel 1)" 1
expect "1000 messages, channel.close() first" "$(arrived channel 1000)" 1000
expect "1000 messages, waitForConfirms() first" "$(arrived confirms 1000)" 1000
echo "as described"
