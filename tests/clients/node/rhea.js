// AMQP 1.0. Usage: AMQP_URL=amqp://... node rhea.js CONNECTION_ID [NAMESPACE]
// RabbitMQ 3.10 needs its plugin rabbitmq_amqp1_0 and has other addresses than 4.x: ADDRESSES=1 node rhea.js ...
'use strict'

const rhea = require('rhea')

require('./follow.js')('rhea', async namespace => {
  const url = new URL(process.env.AMQP_URL)
  const connection = rhea.create_container().connect({
    host: url.hostname,
    port: Number(url.port || 5672),
    username: decodeURIComponent(url.username || 'guest'),
    password: decodeURIComponent(url.password || 'guest'),
    reconnect: false
  })
  const prefix = process.env.ADDRESSES === '1' ? '/exchange' : '/exchanges'
  const senders = {}
  const sender = key => (senders[key] ??= new Promise((resolve, reject) => {
    const opened = connection.open_sender(`${prefix}/${namespace}.commands/${key}`)
    opened.once('sendable', () => resolve(opened))
    opened.once('sender_error', () => reject(opened.error))
    connection.once('disconnected', context => reject(context.error ?? new Error('disconnected')))
  }))
  return {
    publish: async (key, body, { correlationId, replyTo }) => {
      const link = await sender(key)
      await new Promise((resolve, reject) => {
        link.once('accepted', resolve)
        link.once('rejected', context => reject(context.delivery.remote_state.error))
        link.send({
          durable: true,
          correlation_id: correlationId,
          reply_to: process.env.ADDRESSES === '1' ? `/queue/${replyTo}` : `/queues/${replyTo}`,
          // As a data section: a string or an object would be encoded, and is no JSON for whoever reads it over AMQP 0.9.1.
          body: rhea.message.data_section(Buffer.from(JSON.stringify(body)))
        })
      })
    },
    close: async () => { connection.close() }
  }
})
