// One instance: checks, lease, override, metadata, events, and what an operator can do.

import { h, redraw } from './view.js';
import { api } from './api.js';
import { store } from './store.js';
import { button, chip, definitions, go, mono, muted, place, since, status } from './parts.js';
import { ask, reason } from './dialogs.js';
import { spark } from './charts.js';
import { clock, millisecondsOf } from './words.js';
import { leaseLine } from './service.js';
import { described } from './events.js';

const told = { id: null, text: '' };
const say = (id, text) => { Object.assign(told, { id, text }); redraw(true); };
const recent = new Map(); // id -> older events, asked for once

async function probe(id) {
  say(id, 'Checking …');
  try {
    const { status: now } = await api.check(id);
    say(id, `Checked: ${now}.`);
  } catch (error) {
    say(id, error.message);
  }
}

const DIALOGS = {
  drain: (id) => ({
    title: `Drain ${id}?`, verb: 'Drain',
    body: () => [h('p', null, 'Its status becomes ', h('b', null, 'stopping'), ': discovery and the gateway give it no new requests. Requests in progress are not touched.'),
      h('p', null, 'It stays registered, and stays drained when it registers again, until you lift the override.'), reason('deploy of 2.4')],
    act: ({ reason: why }) => api.override(id, 'stopping', why).then(() => null),
  }),
  disable: (id) => ({
    title: `Put ${id} into maintenance?`, verb: 'Disable',
    body: () => [h('p', null, 'Its status becomes ', h('b', null, 'unhealthy'), ', whatever its checks say, until you lift the override. Discovery leaves it out.'), reason('disk is replaced')],
    act: ({ reason: why }) => api.override(id, 'unhealthy', why).then(() => null),
  }),
  lift: (id, one) => ({
    title: `Lift the override of ${id}?`, verb: 'Lift',
    body: () => h('p', null, 'The checks decide again. They say ', h('b', null, one.observed_status ?? 'nothing yet'), '.'),
    act: () => api.lift(id).then(() => null),
  }),
  deregister: (id, one) => ({
    title: `Deregister ${id}?`, verb: 'Deregister', danger: true,
    body: () => [h('p', null, 'It leaves the registry at once. Watchers get a ', h('b', null, 'deregistered'), ' event.'),
      h('p', null, 'A process that still runs registers again when a heartbeat is answered with 404. To keep it out of use, drain it instead.')],
    act: async (_, dialog) => { await api.deregister(id, one.incarnation); dialog.after = () => go(place('services', one.service_name)); },
  }),
};

function check(one) {
  return h('div', { class: 'check', key: one.name },
    h('div', { class: 'line' }, status(one.status), h('b', null, one.name), muted(one.type !== one.name && one.type, one.flapping && ' flapping'), spark(one.results, 100), h('span', { class: 'tabular' }, millisecondsOf(one.latency_ms))),
    h('details', null, h('summary', null, `Last ${one.results.length} results · `, since(one.since, 'verdict since ')),
      h('ol', { class: 'results' }, one.results.map((result) => h('li', { class: result.passed ? '' : 'unhealthy' },
        h('span', { class: 'tabular' }, clock(result.at)), ' ', result.passed ? 'passed' : 'failed', ' ', h('span', { class: 'tabular' }, millisecondsOf(result.latency_ms)), ' ', h('span', { class: 'muted', title: result.message }, result.message))))));
}

/** The events of an instance: those that the page has, and older ones that the log has. */
function history(one) {
  const id = one.service_id;
  if (!recent.has(id)) {
    recent.clear();
    recent.set(id, []);
    api.events({ service: one.service_name, limit: 1000 }).then(({ events }) => {
      recent.set(id, events.filter((event) => event.service_id === id));
      redraw();
    }).catch(() => {}); // the events that the page has are shown
  }
  const all = new Map();
  for (const event of [...recent.get(id), ...store.events]) if (event.service_id === id) all.set(event.revision, event);
  return [...all.values()].sort((a, b) => b.revision - a.revision).slice(0, 20);
}

export function instance(one, health, answers) {
  const id = one.service_id;
  const act = (what) => () => ask(DIALOGS[what](id, one));
  const close = () => go(place('services', one.service_name));
  const metadata = Object.entries(one.metadata);
  const events = history(one);
  const checks = health?.checks ?? [];
  return h('aside', { class: 'panel', key: id, 'aria-label': `Instance ${id}`, tabindex: -1, onkeydown: (event) => { if (event.key === 'Escape') close(); } },
    h('header', null, h('h2', null, id), button('✕', close, 'quiet', { 'aria-label': 'Close' })),
    h('p', { class: 'facts' }, status(one.status), mono(`${one.host}:${one.port}`)),
    one.reason && !one.override && h('p', { class: 'notice' }, one.reason),
    one.override && h('p', { class: 'notice warn' }, h('b', null, one.override.status === 'stopping' ? 'Drained' : 'In maintenance'), ' since ', since(one.override.since), one.override.reason && `: “${one.override.reason}”`, one.observed_status && `. Checks say ${one.observed_status}.`),
    !store.readOnly && h('div', { class: 'actions' },
      one.override ? button('Lift override', act('lift'), 'primary') : [button('Drain', act('drain'), '', { key: 'drain' }), button('Disable', act('disable'), '', { key: 'disable' })],
      (one.checks.length > 0 || one.health_check_url) && button('Check now', () => probe(id), '', { key: 'check' }),
      button('Deregister', act('deregister'), 'danger-quiet', { key: 'deregister' })),
    h('p', { class: 'muted told', role: 'status' }, told.id === id && told.text),
    h('h3', null, 'Lease'),
    h('p', { class: 'facts' }, leaseLine(one, health), muted('last heartbeat ', since(health?.last_heartbeat ?? one.last_heartbeat))),
    h('h3', null, 'Checks'),
    checks.length ? checks.map(check) : h('p', { class: 'muted' }, one.checks.length ? (answers.health?.error ? answers.health.error.message : 'Waiting for the first result.') : 'None: it is healthy as long as its lease lasts.'),
    h('h3', null, 'Registration'),
    definitions([
      ['Version', mono(one.version)], ['Zone', one.zone], ['Weight', one.weight], ['Tags', one.tags.length ? one.tags.map((tag) => [chip(tag), ' ']) : null],
      ['Registered', since(one.registered_at)], one.owner && ['Owner', one.owner], ['Incarnation', mono(one.incarnation)], ['Revision', mono(one.revision)],
    ]),
    h('h3', null, 'Metadata'),
    metadata.length ? definitions(metadata.map(([key, value]) => [mono(key), mono(typeof value === 'string' ? value : JSON.stringify(value))])) : h('p', { class: 'muted' }, 'None.'),
    h('h3', null, 'Events'),
    events.length ? h('ol', { class: 'results events-of' }, events.map((event) => h('li', { key: event.revision }, h('span', { class: 'tabular muted' }, clock(event.timestamp)), ' ', described(event), ' ', h('span', { class: 'muted', title: event.reason }, event.reason)))) : h('p', { class: 'muted' }, 'The log has none any more.'));
}
