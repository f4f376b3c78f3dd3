// Usage: AMQP_URL=amqp://... node amqplib.js CONNECTION_ID [NAMESPACE]
'use strict'

const amqp = require('amqplib')

require('./follow.js')('amqplib', async namespace => {
  const connection = await amqp.connect(process.env.AMQP_URL)
  const channel = await connection.createConfirmChannel()
  const exchange = `${namespace}.commands`
  await channel.assertExchange(exchange, 'topic', { durable: true })
  return {
    publish: async (key, body, options) => {
      channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), { persistent: true, ...options })
      await channel.waitForConfirms()
    },
    // The channel first: what a connection that is closed still holds is lost.
    close: async () => { await channel.close(); await connection.close() }
  }
})
