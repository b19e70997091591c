// Who follows the registry, and how far behind each of them is: webhooks, streams and long polls, AMQP queues.

import { h } from './view.js';
import { api } from './api.js';
import { store } from './store.js';
import { refresh } from './app.js';
import { button, card, command, empty, mono, muted, old, since, status, table, tabs, title, waiting } from './parts.js';
import { ask, field } from './dialogs.js';
import { count, number } from './words.js';

// The daemon's own queues at the exchange.
const OWN = new Set(['service.register', 'service.deregister', 'service.heartbeat', 'service.discover', 'health.check.request', 'health.verdict']);
const STATES = { active: 'healthy', retrying: 'starting', half_open: 'starting', open: 'unhealthy' };
const SAID = { active: 'delivering', retrying: 'retrying', half_open: 'trying one delivery', open: 'paused: too many failures' };
const KINDS = { sse: 'stream', websocket: 'WebSocket', long_poll: 'long poll', gateway: 'gateway stream', callback: 'callback' };
const behind = (lag) => (lag === 0 ? muted('none') : lag == null ? muted('–') : h('b', { class: lag > 100 ? 'unhealthy' : '' }, count(lag, 'event')));

function add() {
  ask({
    title: 'Add a webhook', verb: 'Add', novalidate: true,
    body: (_, fault) => [
      field('URL', 'callback_url', fault('callback_url'), { placeholder: 'https://ops.example.com/events', required: true }, 'Each event is sent there as a POST.'),
      field('Service', 'service_name', fault('service_name'), { placeholder: '*' }, 'One service, or * for all.'),
      field('Events', 'events', fault('events'), { placeholder: 'unhealthy healthy' }, 'Separated by spaces; empty for all.'),
      field('Secret', 'secret', fault('secret'), { type: 'password', autocomplete: 'new-password' }, 'Signs what is sent. It is never shown again.'),
    ],
    act: async ({ callback_url, service_name, events, secret }) => {
      const words = events.split(/[\s,]+/).filter(Boolean);
      await api.addWebhook({ callback_url, service_name: service_name.trim() || undefined, events: words.length ? words : undefined, secret: secret || undefined });
      refresh();
    },
  });
}

const remove = (one) => ask({
  title: 'Remove the webhook?', verb: 'Remove', danger: true,
  body: () => [h('p', null, 'No event is sent to ', mono(one.callback_url), ' any more', one.lag > 0 && `; ${count(one.lag, 'event')} that wait for it are not delivered`, '.')],
  act: async () => { await api.removeWebhook(one.id); refresh(); },
});

function webhooks(list) {
  if (!list.length) return [h('p', { class: 'muted' }, 'No webhook is registered. Add one here, or over HTTP:'), command(`curl ${location.origin}/watchers -d '{"callback_url":"https://ops.example.com/events"}'`)];
  return table('Webhooks', ['URL', 'Follows', 'State', 'Behind', 'Delivered', 'Failed', 'Last error', ''], list.map((one) => ({
    key: one.id,
    cells: [
      [mono(one.callback_url), one.signed && muted(' signed')],
      [one.service_name === '*' ? 'all services' : one.service_name, one.events.length > 0 && muted(`: ${one.events.join(', ')}`)],
      status(STATES[one.state] ?? 'unknown', SAID[one.state] ?? one.state), behind(one.lag), number(one.delivered), number(one.failed),
      one.last_error ? h('span', { class: 'unhealthy breaks' }, one.last_error) : muted('–'),
      !store.readOnly && button('Remove', () => remove(one), 'danger-quiet small', { 'aria-label': `Remove ${one.callback_url}` }),
    ],
  })), [3, 4, 5]);
}

function streams(list) {
  if (!list.length) return [h('p', { class: 'muted' }, 'No stream is open. Try one:'), command(`curl -N ${location.origin}/watch`)];
  return table('Streams and waiting requests', ['Client', 'Kind', 'Follows', 'Behind', 'Open'], list.map((one) => ({
    key: `${one.address} ${one.since} ${one.kind}`,
    cells: [[mono(one.address), one.identity && muted(` ${one.identity}`)], KINDS[one.kind] ?? one.kind, one.scope === '*' ? 'everything' : one.scope, [behind(one.lag), one.error && h('span', { class: 'unhealthy breaks' }, ` ${one.error}`)], since(one.since)],
  })), [3, 4]);
}

function queues(bindings, list, transport) {
  const bound = new Map();
  for (const one of bindings) {
    if (one.source !== 'musterd' || one.destination_type !== 'queue' || OWN.has(one.destination)) continue;
    bound.set(`${one.vhost} ${one.destination}`, [...(bound.get(`${one.vhost} ${one.destination}`) ?? []), one]);
  }
  if (!bound.size) return [h('p', { class: 'muted' }, 'No queue is bound to the exchange ', mono('musterd'), '. Bind one with a key such as ', mono('service.events.#'), '.')];
  const byName = new Map(list.map((one) => [`${one.vhost} ${one.name}`, one]));
  return [
    transport && h('p', { class: 'muted' }, 'The daemon publishes events ', transport.channels.events.mode === 'direct' ? 'not over the broker: the channel is direct' : ['up to the cursor ', mono(transport.channels.events.cursor ?? '–'), ', ', transport.channels.events.lag ? `${count(transport.channels.events.lag, 'event')} behind` : 'not behind'], '.'),
    table('AMQP queues that get events', ['Queue', 'Keys', 'Consumers', 'Ready', 'Unacked'], [...bound].map(([key, of]) => {
      const one = byName.get(key);
      return { key, cells: [[h('a', { href: `#/broker/queue/${encodeURIComponent(of[0].vhost)}/${encodeURIComponent(of[0].destination)}` }, of[0].destination)], of.map((each) => [mono(each.routing_key), ' ']),
        one ? (one.consumers ? number(one.consumers) : h('b', { class: 'unhealthy' }, 'none')) : muted('–'), one ? number(one.messages_ready) : muted('–'), one ? number(one.messages_unacked) : muted('–')] };
    }), [2, 3, 4]),
  ];
}

const PARTS = ['webhooks', 'streams', 'queues'];
export const watchers = {
  polls: () => [
    ['webhooks', '', api.webhooks, 2000], ['streams', '', api.streams, 2000], ['transport', '', api.transport, 4000],
    ['bindings', '', () => api.broker('bindings', { limit: 1000, name: 'musterd' }), 4000], ['queues', '', () => api.broker('queues', { limit: 1000 }), 4000],
  ],
  render({ path, answers }) {
    const part = PARTS.includes(path[1]) ? path[1] : 'webhooks';
    const { webhooks: hooks, streams: open, bindings, queues: list, transport } = answers;
    const off = bindings?.error && !bindings.value;
    const shown = {
      webhooks: () => [old(hooks), hooks?.value ? webhooks(hooks.value.watchers) : waiting(hooks)],
      streams: () => [old(open), open?.value ? [streams(open.value.streams), open.value.total_count > open.value.streams.length && h('p', { class: 'muted' }, `The ${number(open.value.streams.length)} that are open longest, of ${number(open.value.total_count)}.`)] : waiting(open)],
      queues: () => (off ? empty('Queues cannot be shown', waiting(bindings), h('p', { class: 'muted' }, 'With an external broker, its own management shows them.')) : [old(bindings), bindings?.value && list?.value ? queues(bindings.value.bindings, list.value.queues, transport?.value) : waiting(bindings)]),
    };
    return h('section', { class: 'page' },
      title('Watchers', 'Who follows the registry, and how far behind.', [button('Add a webhook …', add)]),
      tabs('Kinds of watchers', part === 'webhooks' && !path[1] ? 'watchers/webhooks' : `watchers/${part}`, [
        ['watchers/webhooks', 'Webhooks', hooks?.value?.total_count], ['watchers/streams', 'Streams, long polls, callbacks', open?.value?.total_count], ['watchers/queues', 'AMQP queues', null],
      ]),
      card(null, shown[part]()));
  },
};
