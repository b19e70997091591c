// A journey with amqplib: every step that its users take. Called with a URL; ends with "ok".
'use strict';
const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const amqp = require('amqplib');

const url = process.argv[2];
const prefix = `js-${randomBytes(4).toString('hex')}-`;
const name = (word) => prefix + word;

// The step closes its channel with this code and wording.
async function refused(connection, code, words, step) {
  const channel = await connection.createChannel();
  const closed = new Promise((resolve) => channel.on('error', resolve));
  const thrown = step(channel).catch((error) => error);
  const error = await Promise.race([closed, sleep(5000).then(() => new Error(`${code} ${words}: not refused`))]);
  await thrown;
  assert.match(error.message, new RegExp(`${code}.*${words}`));
}

async function confirms(connection) {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(name('confirms'), { durable: true });
  const sent = [];
  for (let number = 0; number < 500; number++) {
    sent.push(new Promise((resolve, reject) => {
      const body = Buffer.from(`message ${number}`);
      channel.sendToQueue(name('confirms'), body, { persistent: true }, (error) => (error ? reject(error) : resolve()));
    }));
  }
  await Promise.all(sent);
  const { messageCount } = await channel.checkQueue(name('confirms'));
  assert.strictEqual(messageCount, 500);
  let next = 0;
  await channel.prefetch(20);
  await new Promise((resolve, reject) => {
    channel.consume(name('confirms'), (message) => {
      try {
        assert.strictEqual(message.content.toString(), `message ${next++}`);
        assert.strictEqual(message.properties.deliveryMode, 2);
        channel.ack(message);
        if (next === 500) resolve();
      } catch (error) { reject(error); }
    }).catch(reject);
  });
  await channel.deleteQueue(name('confirms'));
  await channel.close();
}

async function returned(connection) {
  const channel = await connection.createConfirmChannel();
  const back = new Promise((resolve) => channel.on('return', resolve));
  channel.publish('amq.direct', name('nowhere'), Buffer.from('x'), { mandatory: true, messageId: 'm' });
  await channel.waitForConfirms();
  const message = await back;
  assert.strictEqual(message.fields.replyCode, 312);
  assert.strictEqual(message.properties.messageId, 'm');
  await channel.assertQueue(name('full'), { exclusive: true, maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } });
  channel.sendToQueue(name('full'), Buffer.from('1'));
  await channel.waitForConfirms();
  channel.sendToQueue(name('full'), Buffer.from('2'));
  await assert.rejects(channel.waitForConfirms(), /nack/);
  await channel.close();
}

async function headers(connection) {
  const channel = await connection.createChannel();
  await channel.assertExchange(name('headers'), 'headers', { autoDelete: true, durable: false });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, name('headers'), '', { 'x-match': 'any', colour: 'red', size: 7 });
  const publish = (headers, body) => channel.publish(name('headers'), '', Buffer.from(body), { headers });
  publish({ colour: 'red' }, 'colour');
  publish({ colour: 'blue' }, 'none');
  publish({ size: 7, colour: 'blue' }, 'size');
  publish({ big: 2 ** 40, float: 1.5, when: { '!': 'timestamp', value: 1700000000 }, list: [1, null, 'x'], size: 7 }, 'kinds');
  const bodies = [];
  for (let message; bodies.length < 3; await sleep(10)) {
    if ((message = await channel.get(queue, { noAck: true }))) bodies.push(message);
  }
  assert.deepStrictEqual(bodies.map((message) => message.content.toString()), ['colour', 'size', 'kinds']);
  assert.strictEqual(bodies[2].properties.headers.big, 2 ** 40);
  assert.deepStrictEqual(bodies[2].properties.headers.list, [1, null, 'x']);
  assert.strictEqual(await channel.get(queue), false);
  await channel.close();
}

async function exchanges(connection) {
  const channel = await connection.createChannel();
  await channel.assertExchange(name('from'), 'fanout', { alternateExchange: name('rest'), durable: false });
  await channel.assertExchange(name('to'), 'topic', { durable: false });
  await channel.bindExchange(name('to'), name('from'), '');
  await channel.assertQueue(name('q'), { exclusive: true, maxPriority: 3 });
  await channel.bindQueue(name('q'), name('to'), 'a.*');
  for (const priority of [1, 3, 2]) channel.publish(name('from'), 'a.b', Buffer.from(String(priority)), { priority });
  await sleep(200);
  const taken = [];
  for (let message; (message = await channel.get(name('q'), { noAck: true }));) taken.push(message.content.toString());
  assert.deepStrictEqual(taken, ['3', '2', '1']);
  await channel.unbindExchange(name('to'), name('from'), '');
  await channel.unbindQueue(name('q'), name('to'), 'a.*');
  assert.strictEqual((await channel.purgeQueue(name('q'))).messageCount, 0);
  await channel.deleteExchange(name('from'));
  await channel.deleteExchange(name('to'));
  await channel.close();
}

async function calls(connection) {
  const [server, client] = [await connection.createChannel(), await connection.createChannel()];
  await server.assertQueue(name('calls'), { exclusive: true });
  await server.consume(name('calls'), (message) => {
    const { replyTo, correlationId } = message.properties;
    server.sendToQueue(replyTo, Buffer.from(message.content.toString().toUpperCase()), { correlationId });
    server.ack(message);
  });
  const answer = new Promise((resolve) => client.consume('amq.rabbitmq.reply-to', resolve, { noAck: true }));
  client.sendToQueue(name('calls'), Buffer.from('question'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '7' });
  const message = await answer;
  assert.strictEqual(message.content.toString(), 'QUESTION');
  assert.strictEqual(message.properties.correlationId, '7');
  await Promise.all([server.close(), client.close()]);
}

async function cancelled(connection) {
  const channel = await connection.createChannel();
  await channel.assertQueue(name('gone'), { durable: false });
  const cancel = new Promise((resolve, reject) => {
    channel.consume(name('gone'), (message) => (message === null ? resolve() : reject(new Error('a message')))).catch(reject);
  });
  await channel.deleteQueue(name('gone'));
  await cancel;
  const { consumerTag } = await channel.consume((await channel.assertQueue('', { exclusive: true })).queue, () => {});
  assert.match(consumerTag, /^amq\.ctag-/);
  await channel.cancel(consumerTag);
  await channel.close();
}

async function requeue(connection) {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
  await sleep(100);
  const taken = [await channel.get(queue), await channel.get(queue)];
  channel.nack(taken[1]);
  channel.reject(taken[0], true);
  const again = await channel.get(queue);
  assert.strictEqual(again.content.toString(), '1');
  assert.strictEqual(again.fields.redelivered, true);
  await channel.recover();
  channel.nackAll(false);
  await channel.close();
}

async function refusals(connection) {
  await refused(connection, 404, 'no queue', (channel) => channel.checkQueue(name('none')));
  await refused(connection, 404, 'no exchange', (channel) => channel.checkExchange(name('none')));
  await refused(connection, 406, "inequivalent arg 'durable'", async (channel) => {
    await channel.assertQueue(name('durable'), { durable: true, autoDelete: true });
    await channel.assertQueue(name('durable'), { durable: false, autoDelete: true });
  });
  await refused(connection, 406, 'unknown delivery tag', async (channel) => channel.ack({ fields: { deliveryTag: 9 } }));
  await assert.rejects(amqp.connect(url.replace('guest:guest', 'guest:wrong')), /ACCESS-REFUSED|403/);
  await assert.rejects(amqp.connect(url.replace('%2f', 'nope')), /ConnectionClose/);
}

async function main() {
  const connection = await amqp.connect(`${url}?heartbeat=30`, { clientProperties: { connection_name: 'journey.js' } });
  for (const step of [confirms, returned, headers, exchanges, calls, cancelled, requeue, refusals]) {
    await step(connection);
    console.log(step.name);
  }
  await connection.close();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
