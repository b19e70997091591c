// One service: its instances, and the chosen one beside them.

import { h } from './view.js';
import { STATUSES, leave, open, store } from './store.js';
import { api } from './api.js';
import { bar, button, chip, empty, glyph, go, hidden, link, meter, muted, old, place, search, shown, title } from './parts.js';
import { cell, grid, ordered } from './list.js';
import { spark } from './charts.js';
import { collator, count, duration, number, span } from './words.js';
import { register } from './register.js';
import { instance } from './instance.js';

const rank = new Map(STATUSES.map((status, at) => [status, at]));
const worstFirst = (a, b) => rank.get(a.status) - rank.get(b.status) || collator.compare(a.service_id, b.service_id);
const state = { query: '' };
/** So many instances have their lease and checks asked for. */
const ASKED_MAX = 1000;

/** What is left of a lease; null where that is not a matter of time. */
export function lease(one, health) {
  if (one.lease !== 'ttl') return null;
  const ttl = duration(one.ttl);
  const known = health?.lease_left_ms != null ? health.at + health.lease_left_ms : 0;
  const ends = Math.max(known, Date.parse(one.last_heartbeat) + ttl);
  return { ttl, left: Math.max(0, Math.min(ttl, ends - Date.now())) };
}

export function leaseLine(one, health, isShort) {
  if (one.lease === 'connection') return muted(isShort ? 'connection' : 'held by an AMQP connection');
  if (one.lease === 'none') return muted('no end');
  const { ttl, left } = lease(one, health);
  const share = ttl ? left / ttl : 0;
  const kind = share < 0.15 ? 'unhealthy' : share < 0.4 ? 'starting' : 'healthy';
  return h('span', { class: 'lease' }, meter(share, kind, isShort ? '' : 'long'), h('span', { class: 'tabular' }, span(left), !isShort && muted(` left of ${span(ttl)}`)));
}

const healths = new Map();
function healthOf(answer) {
  if (answer?.value && answer.value !== healths.source) {
    healths.clear();
    healths.source = answer.value;
    // By this machine's clock, so that a countdown needs no clock of the daemon.
    for (const one of answer.value.instances) healths.set(one.service_id, { ...one, at: answer.at });
  }
  return healths;
}

const HEAD = [['Instance'], ['Address', 'address'], ['Version', 'wide'], ['Zone', 'wide'], ['Latency', 'wide latency'], ['Lease', 'leased']];

export const service = {
  polls: ([, name]) => (store.services.has(name) ? [['health', name, () => api.health(name, ASKED_MAX), 3000]] : []),
  leave,
  render({ path: [, name, chosen], answers }) {
    open(name);
    const { instances, loading, error } = store.opened;
    const known = store.services.get(name);
    const crumbs = link('services', 'Services');
    const add = button('Register …', () => register(name));
    if (!known && !instances.size) {
      if (loading || store.connection.state === 'connecting') return h('section', { class: 'page' }, title(name, null, [], crumbs), h('p', { class: 'muted' }, 'Asking the daemon …'));
      return h('section', { class: 'page' }, title(name, null, [add], crumbs), empty(error ? error.message : `No instance of ${name} is registered`, h('p', null, link('services', 'All services'))));
    }
    const health = healthOf(answers.health);
    const query = state.query.toLowerCase();
    const text = (one) => [one.service_id, one.host, one.version, one.zone ?? '', one.status, ...one.tags].join('\n').toLowerCase();
    const items = [...instances.values()].filter((one) => !query || text(one).includes(query));
    const list = ordered(`instances ${name}`, items, (one) => one.service_id, worstFirst, query);
    const one = instances.get(chosen);
    const row = (item) => {
      const of = health.get(item.service_id);
      const check = of?.checks.find((each) => each.results.length > 1);
      return [
        cell('name', glyph(item.status), hidden(item.status), h('span', { class: 'id' }, item.service_id), item.override && chip(item.override.status === 'stopping' ? 'drained' : 'disabled', item.override.reason)),
        cell('mono address', `${item.host}:${item.port}`),
        cell('wide mono', item.version),
        cell('wide muted', item.zone ?? '–'),
        cell('wide latency', check ? [spark(check.results, 72, 20), h('span', { class: 'tabular muted' }, `${check.latency_ms?.toFixed(1) ?? '–'} ms`)] : muted('–')),
        cell('leased', leaseLine(item, of, true)),
      ];
    };
    const counts = known?.counts;
    return h('section', { class: `page fill${one ? ' with-panel' : ''}` },
      title(name, counts && [STATUSES.filter((each) => counts[each]).map((each, at) => [at > 0 && ', ', h('span', { class: each }, `${number(counts[each])} ${each}`)]), ` of ${count(known.total, 'instance')}`], [add], crumbs),
      counts && bar(counts, known.total),
      known?.guarded && h('p', { class: 'notice warn' }, h('b', null, 'Guard engaged. '), 'Most leases ended within 30 s, so instances are held as unhealthy instead of being removed. Check the network first.'),
      old(answers.health),
      h('div', { class: 'split' },
        h('div', { class: 'column grow' },
          instances.size > 10 && search(state.query, (value) => { state.query = value; }, 'Filter: id, host, version, zone, tag', 'Filter instances'),
          shown(list.length, instances.size, 'instance'),
          h('div', { class: 'table instances' }, grid({ id: `instances ${name}`, items: list, keyOf: (each) => each.service_id, row, head: HEAD, label: `Instances of ${name}`, selected: chosen, onopen: (each) => go(place('services', name, each.service_id)) }))),
        one && instance(one, health.get(chosen), answers)),
      chosen && !one && !loading && h('p', { class: 'notice', role: 'status' }, `${chosen} is not registered any more.`));
  },
};
