// Keys, locks, sessions, transactions and events with the npm package consul. Called with host:port; ends with "ok".
'use strict';
const assert = require('node:assert');
const { setTimeout: sleep } = require('node:timers/promises');
const Consul = require('consul');

const [host, port] = process.argv[2].split(':');
const consul = new Consul({ host, port: Number(port) });
const step = (name) => console.log(name);

async function refused(status, promise) {
  const error = await promise.then(() => new Error('not refused'), (thrown) => thrown);
  assert.strictEqual(error.statusCode, status, error.message);
  return error;
}

async function keys() {
  step('keys');
  assert.strictEqual(await consul.kv.get('js/none'), undefined);
  assert.strictEqual(await consul.kv.set('js/a', 'world'), true);
  const data = await consul.kv.get('js/a');
  assert.deepStrictEqual(Object.keys(data).sort(), ['CreateIndex', 'Flags', 'Key', 'LockIndex', 'ModifyIndex', 'Value']);
  assert.strictEqual(data.Value, 'world');
  assert.deepStrictEqual(await consul.kv.get({ key: 'js/a', raw: true }), Buffer.from('world'));
  assert.strictEqual(await consul.kv.set('js/null', null), true);
  assert.strictEqual((await consul.kv.get('js/null')).Value, null);
  assert.strictEqual(await consul.kv.set({ key: 'js/flags', value: 'x', flags: 42, cas: 0 }), true);
  // The client has undefined for false.
  assert(!await consul.kv.set({ key: 'js/flags', value: 'y', cas: 0 }));
  assert.strictEqual((await consul.kv.get('js/flags')).Flags, 42);
  assert.deepStrictEqual(await consul.kv.keys('js/'), ['js/a', 'js/flags', 'js/null']);
  await consul.kv.set('js/x/1', 'v');
  await consul.kv.set('js/x/2', 'v');
  assert.deepStrictEqual(await consul.kv.keys({ key: 'js/', separator: '/' }), ['js/a', 'js/flags', 'js/null', 'js/x/']);
  const all = await consul.kv.get({ key: 'js/x', recurse: true });
  assert.deepStrictEqual(all.map((one) => one.Key), ['js/x/1', 'js/x/2']);
}

async function watching() {
  step('watch');
  const watch = consul.watch({ method: consul.kv.get, options: { key: 'js/watched', wait: '20s' }, backoffFactor: 10 });
  const seen = [];
  const done = new Promise((resolve, reject) => {
    watch.on('change', (data) => {
      seen.push(data && data.Value);
      if (seen.length === 3) resolve();
    });
    watch.on('error', reject);
  });
  while (seen.length < 1) await sleep(5);
  await consul.kv.set('js/unrelated', 'x');
  await consul.kv.set('js/watched', '1');
  while (seen.length < 2) await sleep(5);
  await consul.kv.del('js/watched');
  await done;
  watch.end();
  assert.deepStrictEqual(seen, [undefined, '1', undefined]);
}

async function locks() {
  step('locks');
  const { ID: mine } = await consul.session.create({ name: 'js', ttl: '15s', behavior: 'release', lockdelay: '0s' });
  const { ID: other } = await consul.session.create();
  const info = await consul.session.get(mine);
  for (const key of ['CreateIndex', 'ID', 'Name', 'Node', 'NodeChecks', 'LockDelay', 'Behavior', 'TTL']) assert(key in info, key);
  assert.strictEqual((await consul.session.get(other)).LockDelay, 15e9);
  assert((await consul.session.list()).length >= 2);
  assert((await consul.session.node(info.Node)).some((one) => one.ID === mine));
  assert.deepStrictEqual(await consul.session.node('no-such-node'), []);
  assert.strictEqual((await consul.session.renew(mine))[0].ID, mine);
  assert.strictEqual(await consul.kv.set({ key: 'js/lock', value: 'a', acquire: mine }), true);
  assert(!await consul.kv.set({ key: 'js/lock', value: 'b', acquire: other }));
  assert.strictEqual((await consul.kv.get('js/lock')).Session, mine);
  const held = await consul.kv.get('js/lock');
  const waiting = consul.kv.get({ key: 'js/lock', index: held.ModifyIndex, wait: '20s' });
  await sleep(100);
  await consul.session.destroy(mine);
  assert.strictEqual((await waiting).Session, undefined);
  assert.strictEqual(await consul.session.get(mine), undefined);
  await refused(404, consul.session.renew(mine));
  const wrong = await refused(400, consul.session.create({ ttl: '5s' }));
  assert.match(wrong.message, /TTL/);
}

async function transactions() {
  step('transactions');
  const Value = Buffer.from('v').toString('base64');
  const set = await consul.transaction.create([
    { KV: { Verb: 'set', Key: 'js/t1', Value } },
    { KV: { Verb: 'cas', Key: 'js/t2', Value, Index: 0 } },
    { KV: { Verb: 'get-tree', Key: 'js/t' } },
  ]);
  assert.strictEqual(set.Errors, null);
  assert.strictEqual(set.Results.length, 4);
  const conflict = await refused(409, consul.transaction.create([
    { KV: { Verb: 'delete', Key: 'js/t1' } },
    { KV: { Verb: 'cas', Key: 'js/t2', Value, Index: 1 } },
  ]));
  assert.strictEqual(conflict.response.body.Errors[0].OpIndex, 1);
  assert.strictEqual((await consul.kv.get('js/t1')).Value, 'v');
}

async function events() {
  step('events');
  const fired = await consul.event.fire('js-event', JSON.stringify({ hello: 'world' }));
  assert.deepStrictEqual(
    Object.keys(fired).sort(),
    ['ID', 'LTime', 'Name', 'NodeFilter', 'Payload', 'ServiceFilter', 'TagFilter', 'Version'],
  );
  const list = await consul.event.list('js-event');
  assert.deepStrictEqual(list.map((one) => one.ID), [fired.ID]);
  assert.strictEqual(list[0].Payload, '{"hello":"world"}');
}

async function main() {
  await keys();
  await watching();
  await locks();
  await transactions();
  await events();
  assert.strictEqual(await consul.kv.del({ key: 'js/', recurse: true }), true);
  assert.strictEqual(await consul.kv.get('js/a'), undefined);
  console.log('ok');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
