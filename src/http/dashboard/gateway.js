// Gateway routes, best match first, and where a path would go.

import { h, redraw } from './view.js';
import { api } from './api.js';
import { store } from './store.js';
import { button, card, command, empty, link, mono, muted, place, status, table, title } from './parts.js';
import { ask, field } from './dialogs.js';
import { number } from './words.js';

const state = { path: '', method: 'GET', answer: null, error: null };
const bestFirst = (a, b) => b.path_prefix.length - a.path_prefix.length || b.priority - a.priority || (a.route_id < b.route_id ? -1 : 1);
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

const edit = (one) => ask({
  title: one ? `Change the route ${one.route_id}` : 'Add a route', verb: one ? 'Change' : 'Add', novalidate: true,
  body: (_, fault) => [
    field('Id', 'route_id', fault('route_id'), { initial: one?.route_id ?? '', readonly: !!one, required: true }),
    field('Path prefix', 'path_prefix', fault('path_prefix'), { initial: one?.path_prefix ?? '', placeholder: '/shop', required: true }, 'Matches whole segments.'),
    field('Service', 'service_name', fault('service_name'), { initial: one?.service_name ?? '', required: true }),
    field('Methods', 'methods', fault('methods'), { initial: one?.methods.join(' ') ?? '', placeholder: 'GET POST' }, 'Separated by spaces; empty for all.'),
    field('Priority', 'priority', fault('priority'), { initial: one ? String(one.priority) : '', inputmode: 'numeric', placeholder: '0' }, 'Decides between prefixes of the same length.'),
    field('The prefix', 'strip_prefix', fault('strip_prefix'), { options: [['false', 'is kept'], ['true', 'is removed']], initial: String(one?.strip_prefix ?? false) }),
  ],
  act: async ({ route_id, path_prefix, service_name, methods, priority, strip_prefix }) => {
    const words = methods.split(/[\s,]+/).filter(Boolean);
    await api.setRoute(route_id.trim() || ' ', { path_prefix, service_name, methods: words, priority: priority.trim() || 0, strip_prefix: strip_prefix === 'true' });
  },
});

const remove = (one) => ask({
  title: `Remove the route ${one.route_id}?`, verb: 'Remove', danger: true,
  body: () => h('p', null, 'Requests for ', mono(one.path_prefix), ' get the next route that matches, or a 404 from the gateway. Gateways that follow the routes are updated at once.'),
  act: async () => { await api.removeRoute(one.route_id); },
});

async function resolve(event) {
  event.preventDefault();
  const { path, method } = Object.fromEntries(new FormData(event.target));
  Object.assign(state, { path, method });
  try {
    Object.assign(state, { answer: await api.resolve(path, method), error: null });
  } catch (error) {
    Object.assign(state, { answer: null, error: error.message });
  }
  redraw(true);
}

function healthOf(name) {
  const service = store.services.get(name);
  if (!service) return status('unhealthy', 'no instance');
  return status(service.counts.healthy ? 'healthy' : 'unhealthy', `${number(service.counts.healthy)} of ${number(service.total)}`);
}

export const gateway = {
  render() {
    const routes = store.routes.toSorted(bestFirst);
    const actions = [button('Add a route …', () => edit(null))];
    const about = 'Gateways follow them at /gateway/watch. The best match is first.';
    if (!routes.length) {
      return h('section', { class: 'page' }, title('Gateway routes', about, actions), empty('There is no route yet',
        h('p', null, 'Send a path to a service:'), command(`curl -X PUT ${location.origin}/gateway/routes/shop -d '{"path_prefix":"/shop","service_name":"checkout"}'`)));
    }
    const { answer, error } = state;
    return h('section', { class: 'page' }, title('Gateway routes', about, actions),
      card(null, table('Routes', ['Path prefix', 'Service', 'Healthy', 'Methods', 'Priority', 'Prefix', 'Id', ''], routes.map((one) => ({
        key: one.route_id,
        cells: [mono(one.path_prefix), link(place('services', one.service_name), one.service_name), healthOf(one.service_name), one.methods.join(' ') || muted('all'), one.priority, one.strip_prefix ? 'removed' : 'kept', mono(one.route_id),
          !store.readOnly && h('span', { class: 'actions' }, button('Change', () => edit(one), 'small', { 'aria-label': `Change ${one.route_id}` }), button('Remove', () => remove(one), 'danger-quiet small', { 'aria-label': `Remove ${one.route_id}` }))],
      })), [4])),
      card('Where would a request go?',
        h('form', { class: 'filters', onsubmit: resolve },
          h('label', { class: 'sort' }, 'Method ', h('select', { name: 'method' }, METHODS.map((one) => h('option', null, one)))),
          h('label', { class: 'search' }, h('span', { class: 'hidden' }, 'Path'), h('input', { name: 'path', placeholder: '/shop/cart', required: true, autocomplete: 'off', spellcheck: 'false' })),
          h('button', { class: 'primary' }, 'Resolve')),
        h('div', { role: 'status' }, answer ? h('p', null, mono(`${state.method} ${state.path}`), ' goes by the route ', h('b', null, answer.route.route_id), ' to ', link(place('services', answer.instance.service_name, answer.instance.service_id), answer.instance.service_id), ' as ', mono(`http://${answer.instance.host}:${answer.instance.port}${answer.path}`), '.')
          : error ? h('p', { class: 'unhealthy' }, error) : h('p', { class: 'muted' }, 'The answer names the route and one instance, as a gateway gets it.'))));
  },
};
