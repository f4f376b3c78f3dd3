// What the clients in this folder have in common: a job is started, its events are printed, a JSON object on each line, it is
// cancelled once it has started, and its end is seen. Each of them publishes in its own way; all of them hear with amqplib.
'use strict'

const amqp = require('amqplib')
const { randomUUID } = require('node:crypto')

// `publisher(namespace)` gives {publish(key, body, options), close()}.
async function follow (name, publisher) {
  const [connectionId, namespace = 'backhaul'] = process.argv.slice(2)
  const connection = await amqp.connect(process.env.AMQP_URL)
  const channel = await connection.createChannel()
  await channel.assertExchange(`${namespace}.events`, 'topic', { durable: true })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, `${namespace}.events`, 'job.#')
  const { publish, close } = await publisher(namespace)
  const job = randomUUID()
  const command = (key, body) => publish(key, body, { correlationId: key, replyTo: queue })
  let asked = false
  const end = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('the job does not end within a minute')), 60_000).unref()
    channel.consume(queue, received => {
      const message = JSON.parse(received.content)
      if (received.properties.type === 'reply') {
        const of = received.properties.correlationId.replace('sync.', '')
        console.log(JSON.stringify({ reply_to: of, ...message }))
        if (!message.accepted) reject(new Error(message.reason))
        return
      }
      if (message.job_id !== job) return
      console.log(JSON.stringify(message))
      if (message.event === 'started' && !asked) {
        asked = true
        Promise.resolve(command('sync.cancel', { job_id: job, reason: 'seen enough', requested_by: name })).catch(reject)
      }
      if (['completed', 'failed', 'cancelled'].includes(message.event)) resolve()
    }, { noAck: true }).catch(reject)
  })
  await command('sync.start', { connection_id: connectionId, job_id: job, requested_by: name })
  await end
  await close()
  await channel.close()
  await connection.close()
}

module.exports = (name, publisher) => follow(name, publisher).catch(error => {
  console.error(error)
  process.exit(1)
})
