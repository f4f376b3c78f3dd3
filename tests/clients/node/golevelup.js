// Usage: AMQP_URL=amqp://... node golevelup.js CONNECTION_ID [NAMESPACE]
'use strict'

require('reflect-metadata')
const { AmqpConnection } = require('@golevelup/nestjs-rabbitmq')
const { Logger } = require('@nestjs/common')

// It writes to where the events are printed.
Logger.overrideLogger(false)

require('./follow.js')('golevelup', async namespace => {
  const exchange = `${namespace}.commands`
  const connection = new AmqpConnection({
    uri: process.env.AMQP_URL,
    exchanges: [{ name: exchange, type: 'topic' }],
    connectionInitOptions: { wait: true, timeout: 30_000 }
  })
  await connection.init()
  return {
    publish: (key, body, options) => connection.publish(exchange, key, body, options),
    close: () => connection.close()
  }
})
