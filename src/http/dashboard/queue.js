// One queue: its numbers, its first messages (which stay there), and purge, delete and publish.

import { h, redraw } from './view.js';
import { api } from './api.js';
import { refresh } from './app.js';
import { button, card, definitions, empty, go, link, mono, muted, old, table, title, waiting } from './parts.js';
import { ask } from './dialogs.js';
import { lines } from './charts.js';
import { bytes, count, number } from './words.js';
import { publish } from './broker.js';

const SAMPLES = 120;
const state = { of: null, messages: null, error: null, depth: [], published: [], delivered: [] };

const poll = (vhost, name) => async () => {
  const of = `${vhost} ${name}`;
  if (state.of !== of) Object.assign(state, { of, messages: null, error: null, depth: [], published: [], delivered: [] });
  const answer = await api.queue(vhost, name);
  for (const [kept, value] of [[state.depth, answer.messages_ready], [state.published, answer.rates.published], [state.delivered, answer.rates.delivered]]) {
    kept.push(value);
    if (kept.length > SAMPLES) kept.shift();
  }
  return answer;
};

async function peek(vhost, name) {
  try {
    Object.assign(state, { messages: (await api.peek(vhost, name, 10)).messages, error: null });
  } catch (error) {
    Object.assign(state, { messages: null, error: error.message });
  }
  redraw(true);
}

const purge = (q) => ask({
  title: `Purge ${q.name}?`, verb: 'Purge', danger: true,
  body: () => [h('p', null, h('b', null, count(q.messages_ready, 'message')), ' that wait in it are dropped. They cannot be restored, and nothing is dead-lettered.'), q.messages_unacked > 0 && h('p', null, `${count(q.messages_unacked, 'message')} that consumers hold stay with them.`), h('p', null, 'The queue, its bindings and its consumers stay.')],
  act: async () => {
    const { purged } = await api.purge(q.vhost, q.name);
    state.messages = null;
    refresh();
    return h('p', null, `${count(purged, 'message was', 'messages were')} dropped.`);
  },
});

const remove = (q) => ask({
  title: `Delete ${q.name}?`, verb: 'Delete', danger: true,
  body: () => [h('p', null, 'The queue goes with its ', h('b', null, count(q.messages_ready + q.messages_unacked, 'message')), ', its bindings and its ', count(q.consumers, 'consumer'), '. Consumers are cancelled.'), h('p', null, 'A publisher to it by the default exchange gets its messages back as unroutable.')],
  act: async (_, dialog) => { await api.deleteQueue(q.vhost, q.name); dialog.after = () => go('broker/queues'); },
});

function message(one, at) {
  const about = [['Exchange', one.exchange || '(default)'], ['Routing key', one.routing_key], ['Content type', one.content_type], ['Message id', one.message_id], ['Correlation id', one.correlation_id], ['Delivered before', one.redelivered ? 'yes' : 'no'], ['Stored', one.persistent ? 'persistent' : 'transient'], ['Headers', one.headers && Object.keys(one.headers).length ? mono(JSON.stringify(one.headers)) : null]];
  return h('li', { key: at }, h('details', { open: at === 0 ? true : null }, h('summary', null, h('b', null, `${at + 1}`), ' ', mono(one.routing_key || '(no key)'), muted(` ${bytes(one.body_bytes)}${one.redelivered ? ', delivered before' : ''}`)),
    definitions(about.filter(([, value]) => value != null && value !== '')), h('pre', { tabindex: 0, 'aria-label': 'Body' }, one.body || '(empty)'), one.body_bytes > 4096 && h('p', { class: 'muted' }, 'The first 4 KiB of the body.')));
}

export const queue = {
  polls: ([, , vhost, name]) => [['queue', `${vhost} ${name}`, poll(vhost, name), 2000]],
  render({ path: [, , vhost, name], answers }) {
    const q = answers.queue?.value;
    const crumbs = [link('broker/queues', 'Queues')];
    if (answers.queue?.error?.status === 404 || !name) return h('section', { class: 'page' }, title(name ?? '', null, [], crumbs), empty('There is no such queue', h('p', null, link('broker/queues', 'All queues'))));
    if (!q) return h('section', { class: 'page' }, title(name, null, [], crumbs), waiting(answers.queue));
    const { messages, error } = state.of === `${vhost} ${name}` ? state : {};
    const arguments_ = Object.entries(q.arguments);
    return h('section', { class: 'page' },
      title(name, [q.type, q.durable ? ', durable' : ', transient', q.auto_delete && ', auto-delete', q.exclusive && ', exclusive', vhost !== '/' && ` in ${vhost}`], [
        button('Publish …', () => publish(vhost, '', name)), button('Purge', () => purge(q), 'danger-quiet', { disabled: q.messages_ready === 0 }), button('Delete', () => remove(q), 'danger-quiet'),
      ], crumbs),
      old(answers.queue),
      h('dl', { class: 'tiles' }, [['Ready', number(q.messages_ready)], ['Unacked', number(q.messages_unacked)], ['Size', bytes(q.message_bytes_ready)], ['Consumers', number(q.consumers)], ['In /s', q.rates.published.toFixed(1)], ['Out /s', q.rates.delivered.toFixed(1)]].map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value)))),
      h('div', { class: 'cards two' },
        h('div', { class: 'column' },
          card(['Messages ready'], lines({ series: [{ class: 'a', values: state.depth }], label: `Messages ready over the last minutes, now ${number(q.messages_ready)}` })),
          card(['Messages per second ', h('span', { class: 'legend-line' }, h('i', { class: 'a' }), 'in', h('i', { class: 'b' }), 'out')], lines({ series: [{ class: 'a', values: state.published }, { class: 'b', values: state.delivered }], label: 'Messages per second, in and out' })),
          card('Since its declaration', table('Counts', ['What', 'Messages'], Object.entries(q.counters).map(([what, n]) => ({ key: what, cells: [what, number(n)] })), [1]), arguments_.length > 0 && [h('h3', null, 'Arguments'), definitions(arguments_.map(([key, value]) => [mono(key), mono(JSON.stringify(value))]))])),
        card(['First messages ', muted('looking does not remove them')],
          h('div', { class: 'actions' }, button(messages ? 'Look again' : 'Look at the first 10', () => peek(vhost, name), messages ? '' : 'primary')),
          error && h('p', { class: 'error', role: 'alert' }, error),
          messages && (messages.length ? h('ol', { class: 'messages' }, messages.map(message)) : h('p', { class: 'muted', role: 'status' }, 'No message waits.')))));
  },
};
