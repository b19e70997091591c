// All services: how they are, and what changed last.

import { h, redraw } from './view.js';
import { STATUSES, store } from './store.js';
import { bar, button, chip, command, empty, glyph, go, hidden, muted, place, search, select, shown, since, title } from './parts.js';
import { cell, grid, ordered } from './list.js';
import { collator, count, number } from './words.js';
import { register } from './register.js';

const rank = new Map(STATUSES.map((status, at) => [status, at]));
const byName = (a, b) => collator.compare(a.name, b.name);
const ORDERS = {
  'problems first': (a, b) => rank.get(a.worst) - rank.get(b.worst) || byName(a, b),
  name: byName,
  'last change': (a, b) => b.changed - a.changed || byName(a, b),
  'most instances': (a, b) => b.total - a.total || byName(a, b),
};
const state = { query: '', only: null, order: 'problems first' };
const PREFIXES = { tag: 'tags', zone: 'zones', version: 'versions' };

/** Every word must fit: a part of the name, a tag, a zone or a version, or `tag:`, `zone:` and `version:` exactly. */
function filter(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const [, prefix, value] = word.match(/^(tag|zone|version):(.*)$/) ?? [];
    if (!prefix) return (service) => service.words.includes(word);
    return (service) => Object.keys(service[PREFIXES[prefix]]).some((one) => one.toLowerCase() === value || (!value && one));
  });
  return (service) => words.every((fits) => fits(service));
}

function few(map, most) {
  const all = Object.keys(map);
  return [all.slice(0, most), Math.max(0, all.length - most)];
}
const more = (n) => n > 0 && muted(` +${n}`);

function row(service) {
  const [tags, moreTags] = few(service.tags, 3);
  const [zones, moreZones] = few(service.zones, 3);
  const [versions, moreVersions] = few(service.versions, 2);
  return [
    cell('name', glyph(service.worst), h('a', { href: `#/${place('services', service.name)}`, tabindex: -1 }, service.name), hidden(service.worst),
      service.guarded && chip('guarded', 'Most leases ended at once: its instances are held'),
      h('span', { class: 'chips' }, tags.map((tag) => chip(tag)), more(moreTags))),
    cell('count', bar(service.counts, service.total), h('span', { class: service.counts.healthy < service.total ? 'short' : '' }, number(service.counts.healthy), muted(` / ${number(service.total)}`))),
    cell('wide muted', zones.join(', ') || '–', more(moreZones)),
    cell('wide mono', versions.join(', '), more(moreVersions)),
    cell('last', service.event ? [h('span', { class: service.event === 'unhealthy' ? 'unhealthy' : 'muted' }, service.event.replaceAll('_', ' ')), ' '] : null, since(service.changed)),
  ];
}
const HEAD = [['Service'], ['Instances'], ['Zones', 'wide'], ['Versions', 'wide'], ['Last change', 'last']];

export const services = {
  render() {
    const add = button('Register …', () => register());
    if (!store.services.size && store.connection.state !== 'connecting') {
      return h('section', { class: 'page' }, title('Services', null, [add]), empty('No service is registered yet',
        h('p', null, 'Register one over HTTP:'),
        command(`curl ${location.origin}/services/register -d '{"service_id":"web-1","service_name":"web","host":"127.0.0.1","port":8080}'`),
        h('p', { class: 'muted' }, 'It appears here at once, and is removed when its lease ends without a heartbeat.')));
    }
    const fits = filter(state.query);
    const items = [...store.services.values()].filter((one) => (!state.only || one.counts[state.only] > 0) && fits(one));
    const list = ordered('services', items, (one) => one.name, ORDERS[state.order], `${state.order} ${state.only} ${state.query}`);
    const toggle = (one) => h('button', {
      type: 'button', class: `toggle ${one} ${store.totals[one] || state.only === one ? '' : 'none'}`, 'aria-pressed': String(state.only === one), disabled: !store.totals[one] && state.only !== one,
      onclick: () => { state.only = state.only === one ? null : one; redraw(true); },
    }, glyph(one), h('b', null, number(store.totals[one])), ` ${one}`);
    const all = () => { Object.assign(state, { query: '', only: null }); redraw(true); };
    return h('section', { class: 'page fill' },
      title('Services', `${count(store.services.size, 'service')}, ${count(store.instances, 'instance')}`, [add]),
      bar(store.totals, store.instances || 1, 'All instances'),
      h('div', { class: 'filters' },
        h('div', { class: 'legend', role: 'group', 'aria-label': 'Only services with instances that are' }, STATUSES.map(toggle)),
        search(state.query, (value) => { state.query = value; }, 'Filter: name, tag:… zone:… version:…', 'Filter services'),
        select('Order', state.order, Object.keys(ORDERS), (value) => { state.order = value; })),
      shown(list.length, store.services.size, 'service'),
      list.length === 0 && store.services.size > 0
        ? empty('Nothing fits the filter', button(`Show all ${count(store.services.size, 'service')}`, all))
        : h('div', { class: 'table services' }, grid({ id: 'services', items: list, keyOf: (one) => one.name, row, head: HEAD, label: 'Services', isNew: (one) => store.live() && Date.now() - one.changed < 1500, onopen: (one) => go(place('services', one.name)) })));
  },
};
