// What happens: live, filtered, paused, and how much of it.

import { h, redraw } from './view.js';
import { store } from './store.js';
import { button, command, empty, go, place, search, select, shown, status, title } from './parts.js';
import { cell, grid } from './list.js';
import { columns } from './charts.js';
import { clock, number, plain } from './words.js';

const SHAPES = { healthy: 'healthy', unhealthy: 'unhealthy', stopping: 'stopping', expired: 'unhealthy', registered: 'starting', guard_engaged: 'unhealthy', guard_released: 'healthy' };
const KINDS = ['all events', 'changes of status', 'registrations', 'removals', 'updates', 'routes', 'migration'];
const OF_KIND = {
  'changes of status': ['healthy', 'unhealthy', 'stopping', 'guard_engaged', 'guard_released'], registrations: ['registered'], removals: ['deregistered', 'expired'], updates: ['updated'], routes: ['route_set', 'route_removed'],
};
const SECONDS = 120;
const state = { query: '', kind: KINDS[0], paused: null };

export const described = (event) => status(SHAPES[event.event] ?? 'unknown', plain(event.event));
const key = (event) => event.revision ?? `${event.event} ${event.timestamp}`;
const subject = (event) => event.service_name ?? event.route?.route_id ?? '';

function fits(event) {
  if (state.kind === 'migration' ? !event.event.startsWith('migration.') : OF_KIND[state.kind] && !OF_KIND[state.kind].includes(event.event)) return false;
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [event.event, subject(event), event.service_id, event.reason].join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

function row(event) {
  return [
    cell('tabular muted', clock(event.timestamp)),
    cell('', described(event)),
    cell('name', subject(event) || '–'),
    cell('wide', event.service_id),
    cell('wide muted', event.reason ?? (event.event === 'updated' ? 'registered again or changed' : null)),
  ];
}
const HEAD = [['Time'], ['Event'], ['Service'], ['Instance', 'wide'], ['Reason', 'wide']];

export const events = {
  render() {
    const all = state.paused ?? store.events;
    const list = all.filter(fits).reverse();
    const now = Math.floor(Date.now() / 1000);
    const values = Array.from({ length: SECONDS }, (_, at) => store.rates.get(now - SECONDS + 1 + at) ?? 0);
    const sum = values.reduce((a, b) => a + b, 0);
    const missed = state.paused ? store.events.length - state.paused.length : 0;
    const fresh = state.paused ? store.events.filter((event) => event.revision > (state.paused.at(-1)?.revision ?? 0)).length || missed : 0;
    const toggle = () => { state.paused = state.paused ? null : [...store.events]; redraw(true); };
    return h('section', { class: 'page fill' },
      title('Events', state.paused ? 'Paused.' : `The newest ${number(all.length)} that this page has.`),
      h('figure', { class: 'rate' }, h('figcaption', null, h('b', null, `${(sum / SECONDS).toFixed(1)} events/s`), h('span', { class: 'muted' }, `2 minutes, at most ${number(Math.max(...values))}/s`)),
        columns(values, `Events per second over two minutes: ${(sum / SECONDS).toFixed(1)} on average, at most ${Math.max(...values)}`)),
      h('div', { class: 'filters' },
        search(state.query, (value) => { state.query = value; }, 'Filter: service, instance, reason', 'Filter events'),
        select('Kind', state.kind, KINDS, (value) => { state.kind = value; }),
        button(state.paused ? `Continue${fresh ? ` (${number(fresh)} new)` : ''}` : 'Pause', toggle, state.paused ? 'primary' : '', { 'aria-pressed': String(!!state.paused) })),
      shown(list.length, all.length, 'event'),
      list.length === 0
        ? empty(all.length ? 'Nothing fits the filter' : 'Nothing has happened yet', all.length ? button('Show all events', () => { Object.assign(state, { query: '', kind: KINDS[0] }); redraw(true); }) : command(`curl -N ${location.origin}/watch`))
        : h('div', { class: 'table events' }, grid({ id: 'events', items: list, keyOf: (event) => String(key(event)), row, head: HEAD, height: 36, label: 'Events, newest first', onopen: (event) => event.service_name && go(event.service_id ? place('services', event.service_name, event.service_id) : place('services', event.service_name)) })));
  },
};
