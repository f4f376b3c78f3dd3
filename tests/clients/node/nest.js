// Usage: AMQP_URL=amqp://... node nest.js CONNECTION_ID [NAMESPACE]
'use strict'

require('reflect-metadata')
const { ClientProxyFactory, Transport } = require('@nestjs/microservices')
const { lastValueFrom } = require('rxjs')
const { Logger } = require('@nestjs/common')

// It writes to where the events are printed.
Logger.overrideLogger(false)

require('./follow.js')('nest', async namespace => {
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: {
      urls: [process.env.AMQP_URL],
      exchange: `${namespace}.commands`,
      exchangeType: 'topic',
      wildcards: true,
      persistent: true,
      // Without it, a message is {pattern, data}.
      serializer: { serialize: packet => packet.data }
    }
  })
  await client.connect()
  return {
    publish: (key, body) => lastValueFrom(client.emit(key, body), { defaultValue: undefined }),
    close: () => client.close()
  }
})
