// A journey with eureka-js-client: register, discover, renew, deregister. Ends with "ok".
'use strict';

const assert = require('assert');
const { Eureka } = require('eureka-js-client');

const url = new URL(process.argv[2]);
const quiet = { level: () => {}, debug: () => {}, info: () => {}, warn: console.error, error: console.error };

function client(port, path, more) {
  return new Eureka({
    logger: quiet,
    instance: {
      app: 'js-orders', hostName: 'localhost', ipAddr: '127.0.0.1', vipAddress: 'js.orders', statusPageUrl: `${url}info`,
      port: { $: port, '@enabled': 'true' },
      dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
      ...more,
    },
    eureka: {
      host: url.hostname, port: url.port, servicePath: path, heartbeatInterval: 200, registryFetchInterval: 200,
      maxRetries: 1,
    },
  });
}

const call = (object, method) => new Promise((done, failed) => {
  object[method]((error) => (error ? failed(error) : done()));
});
const once = (object, event) => new Promise((done) => object.once(event, done));

async function rest(method, path, body) {
  const options = { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  const answer = await fetch(new URL(path, url), options);
  return [answer.status, await answer.json()];
}

async function until(what, wanted) {
  const deadline = Date.now() + 20000;
  for (;;) {
    const found = await what();
    if (JSON.stringify(found) === JSON.stringify(wanted)) return;
    assert(Date.now() < deadline, `${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

(async () => {
  // One without an id of its own at the path of Spring Cloud, one with an id at Netflix' path.
  const first = client(8101, '/eureka/apps/', {});
  const second = client(8102, '/eureka/v2/apps/', { instanceId: 'js-2' });
  await call(first, 'start');
  await call(second, 'start');
  console.log('started');
  const [code, ours] = await rest('GET', '/services/js-2');
  assert.deepStrictEqual([code, ours.service_name, ours.port], [200, 'js-orders', 8102]);
  const ports = () => second.getInstancesByAppId('js-orders').map((one) => one.port.$).sort();
  await until(async () => ports(), [8101, 8102]);
  assert.strictEqual(second.getInstancesByVipAddress('js.orders').length, 2);
  console.log('discovered');
  await once(second, 'heartbeat');
  console.log('renewed');
  await rest('POST', '/services/register',
    { service_id: 'rest-1', service_name: 'js-stock', host: '127.0.0.1', port: 8103 });
  await once(second, 'registryUpdated');
  await once(second, 'registryUpdated');
  assert.strictEqual(second.getInstancesByAppId('JS-STOCK')[0].instanceId, 'rest-1');
  console.log('sees REST');
  // A client whose instance is unknown registers it again.
  const again = once(second, 'registered');
  await rest('DELETE', '/services/js-2');
  await again;
  assert.strictEqual((await rest('GET', '/services/js-2'))[0], 200);
  console.log('registered again');
  await call(first, 'stop');
  await until(async () => ports(), [8102]);
  await call(second, 'stop');
  assert.strictEqual((await rest('GET', '/services/js-2'))[0], 404);
  assert.strictEqual((await rest('GET', '/services/localhost'))[0], 404);
  console.log('ok');
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
