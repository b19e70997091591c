// The embedded broker: numbers, rates, and its lists.

import { h } from './view.js';
import { api } from './api.js';
import { refresh } from './app.js';
import { button, card, empty, go, mono, muted, old, place, search, shown, status, tabs, title, waiting } from './parts.js';
import { cell, grid, ordered } from './list.js';
import { lines } from './charts.js';
import { ask, field } from './dialogs.js';
import { bytes, collator, date, number } from './words.js';

const LISTS = ['queues', 'exchanges', 'bindings', 'connections', 'channels', 'consumers'];
const SHOWN_MAX = 1000;
const state = { query: {} };
const rate = (value) => (value >= 100 ? number(Math.round(value)) : value.toFixed(1));

/** Publishes a test message; the dialog says whether a queue has it. */
export function publish(vhost = '/', exchange = '', key = '') {
  ask({
    title: 'Publish a test message', verb: 'Publish', novalidate: true, wide: true,
    body: (_, fault) => h('div', { class: 'fields' },
      field('Virtual host', 'vhost', fault('vhost'), { initial: vhost, required: true }),
      field('Exchange', 'exchange', fault('exchange'), { initial: exchange }, 'Empty: the default exchange, which takes the routing key as the name of the queue.'),
      field('Routing key', 'routing_key', fault('routing_key'), { initial: key }),
      field('Content type', 'content_type', fault('content_type'), { placeholder: 'application/json' }),
      field('Delivery', 'persistent', fault('persistent'), { options: [['false', 'transient'], ['true', 'persistent']] }),
      field('Body', 'payload', fault('payload'), { rows: 5 })),
    act: async (fields) => {
      const sent = { ...fields, persistent: fields.persistent === 'true', content_type: fields.content_type.trim() || undefined };
      const { routed } = await api.publish(sent);
      refresh();
      return routed ? h('p', null, 'Published. At least one queue has the message.') : h('p', { class: 'unhealthy' }, 'Published, but no queue got it: no binding fits this key.');
    },
  });
}

const flags = (one) => [one.durable && 'durable', one.auto_delete && 'auto-delete', one.exclusive && 'exclusive', one.internal && 'internal'].filter(Boolean).join(', ') || 'transient';
const vhosted = (one, name) => [h('span', { class: 'id' }, name), one.vhost !== '/' && muted(` in ${one.vhost}`)];

// Of each list: its columns, its cells, its order, and what its rows open.
const VIEWS = {
  queues: {
    head: [['Queue'], ['Ready', 'number'], ['Unacked', 'number'], ['Consumers', 'number wide'], ['In /s', 'number wide'], ['Out /s', 'number wide'], ['Size', 'number wide'], ['Kind', 'wide']],
    row: (one) => [cell('name', vhosted(one, one.name)), cell(one.messages_ready > 0 ? 'number strong' : 'number', number(one.messages_ready)), cell('number', number(one.messages_unacked)), cell('number wide', number(one.consumers)), cell('number wide', rate(one.rates.published)), cell('number wide', rate(one.rates.delivered)), cell('number wide', bytes(one.message_bytes_ready)), cell('wide muted', flags(one))],
    order: (a, b) => b.messages_ready - a.messages_ready || collator.compare(a.name, b.name),
    key: (one) => `${one.vhost} ${one.name}`, open: (one) => go(place('broker', 'queue', one.vhost, one.name)),
  },
  exchanges: {
    head: [['Exchange'], ['Type'], ['Bindings', 'number'], ['Published', 'number wide'], ['Kind', 'wide']],
    row: (one) => [cell('name', vhosted(one, one.name || '(default)')), cell('', one.type), cell('number', number(one.bindings)), cell('number wide', number(one.published)), cell('wide muted', flags(one))],
    order: (a, b) => collator.compare(a.name, b.name), key: (one) => `${one.vhost} ${one.name}`, open: (one) => publish(one.vhost, one.name),
  },
  bindings: {
    head: [['From'], ['Key'], ['To'], ['Arguments', 'wide']],
    row: (one) => [cell('name', vhosted(one, one.source)), cell('mono', one.routing_key || '–'), cell('', one.destination, muted(` ${one.destination_type}`)), cell('wide mono', Object.keys(one.arguments).length ? JSON.stringify(one.arguments) : '–')],
    order: (a, b) => collator.compare(a.source, b.source) || collator.compare(a.destination, b.destination), key: (one) => [one.vhost, one.source, one.routing_key, one.destination, JSON.stringify(one.arguments)].join(' '),
  },
  connections: {
    head: [['Client'], ['User'], ['Channels', 'number'], ['Received', 'number wide'], ['Sent', 'number wide'], ['Waiting', 'number wide'], ['State', 'wide'], ['Open', 'wide']],
    row: (one) => [cell('name', h('span', { class: 'id' }, one.name || one.peer), one.peer && one.name !== one.peer && muted(` ${one.peer}`)), cell('', one.user, one.tls && muted(' TLS')), cell('number', number(one.channels)), cell('number wide', bytes(one.received_bytes)), cell('number wide', bytes(one.sent_bytes)), cell('number wide', bytes(one.unsent_bytes)), cell('wide', status(one.state === 'running' ? 'healthy' : 'starting', one.state)), cell('wide muted', date(one.connected_at * 1000))],
    order: (a, b) => a.id - b.id, key: (one) => String(one.id),
  },
  channels: {
    head: [['Connection', 'number'], ['Channel', 'number'], ['Virtual host'], ['Consumers', 'number'], ['Unacked', 'number'], ['Bytes', 'number wide'], ['Prefetch', 'number wide']],
    row: (one) => [cell('number', String(one.connection)), cell('number', String(one.number)), cell('', one.vhost), cell('number', number(one.consumers)), cell('number', number(one.messages_unacked)), cell('number wide', bytes(one.unacked_bytes)), cell('number wide', one.prefetch || 'no limit')],
    order: (a, b) => a.connection - b.connection || a.number - b.number, key: (one) => `${one.connection} ${one.number}`,
  },
  consumers: {
    head: [['Queue'], ['Tag', 'wide'], ['Connection', 'number wide'], ['Unacked', 'number'], ['Prefetch', 'number'], ['Acknowledges', 'wide']],
    row: (one) => [cell('name', vhosted(one, one.queue)), cell('wide mono', one.consumer_tag), cell('number wide', String(one.connection)), cell('number', number(one.unacked)), cell('number', one.prefetch || 'no limit'), cell('wide', one.ack_required ? 'yes' : 'no')],
    order: (a, b) => collator.compare(a.queue, b.queue), key: (one) => `${one.vhost} ${one.queue} ${one.connection} ${one.channel} ${one.consumer_tag}`, open: (one) => go(place('broker', 'queue', one.vhost, one.queue)),
  },
};

const over = (o, what) => [...o.recent_rates, o.rates].map((one) => one[what]);

function numbers(o) {
  const share = o.memory_high_bytes ? o.memory_bytes / o.memory_high_bytes : 0;
  const tile = (name, value, kind = '') => h('div', null, h('dt', null, name), h('dd', { class: kind }, value));
  return [
    o.memory_alarm && h('p', { class: 'notice warn', role: 'alert' }, h('b', null, 'Publishers are blocked: '), `the broker holds ${bytes(o.memory_bytes)} of ${bytes(o.memory_high_bytes)}. Consume or purge a queue.`),
    h('dl', { class: 'tiles' }, tile('Messages ready', number(o.messages_ready)), tile('Unacked', number(o.messages_unacked)), tile('Published /s', rate(o.rates.published)), tile('Delivered /s', rate(o.rates.delivered)), tile('Connections', number(o.connections)), tile('Memory', [bytes(o.memory_bytes), h('span', { class: 'muted wide' }, ` ${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`)], share > 0.8 ? 'starting' : '')),
    card(['Messages per second, ten minutes ', h('span', { class: 'legend-line' }, h('i', { class: 'a' }), 'published', h('i', { class: 'b' }), 'delivered')],
      lines({ series: [{ class: 'a', values: over(o, 'published') }, { class: 'b', values: over(o, 'delivered') }], slots: 60, label: `Messages per second: ${rate(o.rates.published)} published, ${rate(o.rates.delivered)} delivered`})),
  ];
}

export const broker = {
  polls: ([, list]) => {
    const part = LISTS.includes(list) ? list : 'queues';
    return [['overview', '', api.overview, 2000], ['list', part, () => api.broker(part, { limit: SHOWN_MAX, name: state.query[part] ?? '' }), 2000]];
  },
  render({ path, answers }) {
    const part = LISTS.includes(path[1]) ? path[1] : 'queues';
    const o = answers.overview?.value;
    if (!o) return h('section', { class: 'page' }, title('Broker'), answers.overview?.error?.status === 404 ? empty('The embedded broker is off', h('p', null, 'Set ', mono('broker.listen'), ' to switch it on. An external broker is managed with its own tools.')) : waiting(answers.overview));
    const view = VIEWS[part];
    const answer = answers.list?.value;
    const query = state.query[part] ?? '';
    const items = answer?.[part] ?? [];
    const list = ordered(`broker ${part}`, items.filter((one) => !query || JSON.stringify(one).toLowerCase().includes(query.toLowerCase())), view.key, view.order, query);
    const typed = (value) => { state.query[part] = value; };
    return h('section', { class: 'page' },
      title('Broker', null, [button('Publish …', () => publish())]),
      old(answers.overview), numbers(o),
      tabs('Lists of the broker', `broker/${part}`, LISTS.map((one) => [`broker/${one}`, one[0].toUpperCase() + one.slice(1), o[one]])),
      h('div', { class: 'filters' }, search(query, typed, 'Filter by name', `Filter ${part}`)),
      shown(list.length, answer?.total_count ?? list.length, part.slice(0, -1)),
      !answer ? waiting(answers.list) : list.length === 0 ? h('p', { class: 'muted' }, query ? 'Nothing fits the filter.' : `There are no ${part}.`)
        : h('div', { class: `table tall ${part}`, style: { height: `${36 + list.length * 36}px` } }, grid({ id: `broker ${part}`, items: list, keyOf: view.key, row: view.row, head: view.head, height: 36, label: part, onopen: view.open })),
      answer && answer.total_count > items.length && h('p', { class: 'muted' }, `The first ${number(items.length)} of ${number(answer.total_count)} are shown; the filter searches all.`));
  },
};
