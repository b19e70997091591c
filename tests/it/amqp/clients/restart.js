// What amqplib finds again after the broker was restarted. Called with a URL, writes a transcript.
// A line "> stop" or "> kill" asks for a restart; the new URL is then read from the standard input.
'use strict';
const assert = require('node:assert');
const { createInterface } = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const amqp = require('amqplib');

const prefix = 'js-';
const name = (word) => prefix + word;
const say = (...words) => console.log(words.join(' '));
const limits = { maxLength: 6, deadLetterExchange: name('dead') };
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Without what differs between clients: the names' prefix, the type of a number.
const wording = (text) => text.replaceAll(prefix, '').replace(/ of type '\w+'/g, '');

// Returns when it is routed and confirmed.
async function publish(channel, exchange, key, body, mode = 2) {
  const returned = (message) => { throw new Error(`${message.content} is returned`); };
  channel.once('return', returned);
  channel.publish(name(exchange), key, Buffer.from(body), {
    deliveryMode: mode, messageId: `m${body}`, contentType: 'text/plain', mandatory: true,
    headers: { number: body, deep: { list: [1, 'two'] } },
  });
  await channel.waitForConfirms();
  channel.off('return', returned);
}

async function declare(connection) {
  const channel = await connection.createChannel();
  await channel.assertExchange(name('events'), 'topic');
  await channel.assertExchange(name('dead'), 'fanout');
  await channel.assertExchange(name('passing'), 'topic', { durable: false });
  await channel.assertQueue(name('work'), limits);
  await channel.assertQueue(name('graves'));
  await channel.assertQueue(name('passing'), { durable: false });
  await channel.bindQueue(name('work'), name('events'), 'order.*');
  await channel.bindQueue(name('graves'), name('dead'), '');
  await channel.bindQueue(name('passing'), name('events'), 'order.*');
}

function died({ headers }) {
  const list = (words) => `[${words.map((word) => word ?? 'null').join(', ')}]`;
  const first = ['reason', 'queue', 'exchange'].map((word) => headers[`x-first-death-${word}`]);
  const each = (headers['x-death'] ?? []).map((d) => list([d.reason, d.queue, d.exchange, d.count, ...d['routing-keys']]));
  return wording(`${list(each)} first ${list(first)}`);
}

function describe({ fields, properties, content }) {
  const again = fields.redelivered ? 'redelivered' : 'first';
  assert.strictEqual(properties.messageId, `m${content}`);
  assert.strictEqual(properties.contentType, 'text/plain');
  assert.strictEqual(properties.headers.number, `${content}`);
  assert.deepStrictEqual(properties.headers.deep, { list: [1, 'two'] });
  return `${content} ${again} mode=${properties.deliveryMode} key=${fields.routingKey}`;
}

// These messages of the work queue and no more; the channel stays open with them unacknowledged.
async function take(connection, count) {
  const channel = await connection.createConfirmChannel();
  await channel.prefetch(count);
  const taken = await new Promise((resolve, reject) => {
    const messages = [];
    channel.consume(name('work'), (message) => {
      if (messages.push(message) === count) resolve(messages);
    }).catch(reject);
  });
  await channel.cancel(taken[0].fields.consumerTag);
  for (const message of taken) say('work:', describe(message));
  return { channel, taken };
}

// All dead letters, which are given back.
async function graves(connection, count) {
  const channel = await connection.createChannel();
  while ((await channel.checkQueue(name('graves'))).messageCount < count) await sleep(50);
  for (let message; (message = await channel.get(name('graves')));) say('graves:', describe(message), died(message.properties));
  await channel.close();
}

async function refused(connection, step) {
  const channel = await connection.createChannel();
  const closed = new Promise((resolve) => channel.on('error', resolve));
  await assert.rejects(step(channel));
  const { code, message } = await closed;
  say('refused:', code, wording(message.match(/with message "(.*)"$/)[1]));
}

async function topology(connection) {
  const channel = await connection.createChannel();
  for (const exchange of ['events', 'dead']) await channel.checkExchange(name(exchange));
  for (const queue of ['work', 'graves']) say(`${queue} has ${(await channel.checkQueue(name(queue))).messageCount}`);
  await channel.assertExchange(name('events'), 'topic');
  await channel.assertQueue(name('work'), limits);
  await refused(connection, (channel) => channel.checkExchange(name('passing')));
  await refused(connection, (channel) => channel.checkQueue(name('passing')));
  await refused(connection, (channel) => channel.assertExchange(name('events'), 'direct'));
  await refused(connection, (channel) => channel.assertQueue(name('work')));
  await refused(connection, (channel) => channel.assertQueue(name('work'), { ...limits, maxLength: 7 }));
}

async function connect(url) {
  const connection = await amqp.connect(`${url}?heartbeat=60`);
  connection.on('error', () => {}); // 'close' follows with the same error
  const closed = new Promise((resolve) => connection.on('close', resolve));
  return { connection, closed };
}

async function restarted({ closed }, how) {
  say('>', how);
  const error = await closed;
  if (error?.code === 320) say('closed:', error.code, error.message.match(/with message "(.*)"$/)[1]);
  else say('closed: connection lost');
  return connect((await lines.next()).value);
}

async function before({ connection }) {
  await declare(connection);
  const publisher = await connection.createConfirmChannel();
  for (const body of '12345') await publish(publisher, 'events', 'order.new', body);
  await publish(publisher, 'events', 'order.new', '6', 1);
  await publish(publisher, 'events', 'order.new', '7'); // and 1 is one too many
  const { channel, taken } = await take(connection, 4);
  channel.ack(taken[0]);
  channel.reject(taken[1], false);
  await graves(connection, 2);
  // Once these are on disk, the settlements before them are too.
  await publish(channel, 'events', 'order.new', '8');
  await publish(channel, 'dead', 'direct', '9');
}

async function afterAStop({ connection }) {
  await topology(connection);
  await publish(await connection.createConfirmChannel(), 'events', 'order.late', '10');
  const { channel, taken } = await take(connection, 5);
  await graves(connection, 3);
  channel.ack(taken[0]);
  await publish(channel, 'events', 'order.late', '11', 1);
  await publish(channel, 'events', 'order.late', '12');
  await publish(channel, 'dead', 'direct', '13');
}

async function afterAKill({ connection }) {
  await topology(connection);
  await publish(await connection.createConfirmChannel(), 'events', 'order.later', '14');
  const { channel, taken } = await take(connection, 6);
  channel.ack(taken.at(-1), true);
  await graves(connection, 4);
  say(`work has ${(await channel.checkQueue(name('work'))).messageCount}`);
}

async function main() {
  setTimeout(() => process.exit(2), 300_000).unref();
  let session = await connect(process.argv[2]);
  await before(session);
  session = await restarted(session, 'stop');
  await afterAStop(session);
  session = await restarted(session, 'kill');
  await afterAKill(session);
  await session.connection.close();
  say('ok');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
