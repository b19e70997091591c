// What the page knows, kept current by the stream. Knows nothing of how anything looks.

import { api } from './api.js';
import { Stream } from './stream.js';
import { redraw } from './view.js';

export const STATUSES = ['unhealthy', 'starting', 'unknown', 'stopping', 'healthy']; // worst first
const KEPT_EVENTS = 2000;
const KEPT_SECONDS = 900;
const REMOVED = new Set(['deregistered', 'expired']);

class Service {
  constructor(name) {
    Object.assign(this, { name, version: 0 });
  }
  set(summary) {
    Object.assign(this, summary);
    this.total = STATUSES.reduce((sum, status) => sum + this.counts[status], 0);
    this.worst = STATUSES.find((status) => this.counts[status] > 0) ?? 'healthy';
    this.changed = summary.changed_at ? Date.parse(summary.changed_at) : 0;
    this.text = null;
    this.version++;
  }
  /** What a filter looks into. */
  get words() {
    return (this.text ??= [this.name, ...Object.keys(this.tags), ...Object.keys(this.zones), ...Object.keys(this.versions)].join('\n').toLowerCase());
  }
}

export const store = {
  services: new Map(),
  version: 0,        // counts changes of the list of services
  totals: Object.fromEntries(STATUSES.map((status) => [status, 0])),
  instances: 0,
  routes: [],
  events: [],        // newest last
  rates: new Map(),  // second -> events
  revision: 0,
  epoch: '',
  opened: null,      // the service whose instances are known
  connection: { state: 'connecting', heard: 0 },
  readOnly: document.documentElement.dataset.mode === 'read',
};
store.live = () => store.connection.state === 'live';

function put(name, summary) {
  let service = store.services.get(name);
  if (service) count(service, -1);
  if (!summary) {
    store.services.delete(name);
  } else {
    if (!service) store.services.set(name, (service = new Service(name)));
    service.set(summary);
    count(service, 1);
  }
  store.version++;
}

function count(service, sign) {
  for (const status of STATUSES) store.totals[status] += sign * service.counts[status];
  store.instances += sign * service.total;
}

function replace(snapshot) {
  const again = store.epoch === snapshot.epoch && store.revision > 0 ? `${store.epoch}-${store.revision}` : null;
  if (store.epoch !== snapshot.epoch) {
    store.events = [];
    store.rates.clear();
  }
  store.services = new Map();
  store.instances = 0;
  for (const status of STATUSES) store.totals[status] = 0;
  for (const [name, summary] of Object.entries(snapshot.services)) put(name, summary);
  store.routes = snapshot.routes ?? [];
  store.epoch = snapshot.epoch;
  store.revision = snapshot.revision;
  recall(again);
  if (store.opened) open(store.opened.name, true);
}

/** Events from before the stream began: after a cursor, or the newest. */
async function recall(cursor) {
  try {
    const answer = await api.events(cursor ? { since: cursor, limit: 1000 } : { limit: 1000 });
    if (answer.resync) return recall(null);
    const known = new Set(store.events.map((event) => event.revision));
    const more = answer.events.filter((event) => !known.has(event.revision));
    store.events = [...store.events, ...more].sort((a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp)).slice(-KEPT_EVENTS);
    for (const event of more) rate(event);
    store.rates = new Map([...store.rates].sort((a, b) => a[0] - b[0]).slice(-KEPT_SECONDS));
    redraw();
  } catch { /* the next snapshot tries again */ }
}

function rate(event) {
  const second = Math.floor(Date.parse(event.timestamp) / 1000);
  store.rates.set(second, (store.rates.get(second) ?? 0) + 1);
}

function apply(event) {
  if (event.revision) store.revision = Math.max(store.revision, event.revision);
  store.events.push(event);
  if (store.events.length > KEPT_EVENTS * 1.2) store.events.splice(0, store.events.length - KEPT_EVENTS);
  rate(event);
  if (store.rates.size > KEPT_SECONDS) store.rates.delete(store.rates.keys().next().value);
  if (event.event === 'route_set' || event.event === 'route_removed') {
    const id = event.route?.route_id;
    const others = store.routes.filter((route) => route.route_id !== id);
    store.routes = event.event === 'route_set' ? [...others, event.route] : others;
  }
  if (store.opened?.name === event.service_name) change(store.opened, event);
}

/** Applies an event to the instances of the opened service, unless they are known from later on. */
function change(opened, event) {
  if (opened.loading) opened.missed.push(event);
  const id = event.service_id;
  const known = opened.instances.get(id);
  if (!id || (known && event.revision < known.revision)) return;
  if (REMOVED.has(event.event)) opened.instances.delete(id);
  else if (event.instance) opened.instances.set(id, event.instance);
  else if (known && event.status) opened.instances.set(id, { ...known, status: event.status, revision: event.revision });
  opened.version++;
}

/** Loads the instances of a service, and keeps them current from then on. */
export async function open(name, again = false) {
  if (!again && store.opened?.name === name) return;
  const opened = { name, instances: again ? store.opened.instances : new Map(), loading: true, missed: [], error: null, version: 0 };
  store.opened = opened;
  try {
    const { services } = await api.members(name);
    opened.instances = new Map(services.map((one) => [one.service_id, one]));
    opened.loading = false;
    for (const event of opened.missed) change(opened, event);
  } catch (error) {
    opened.error = error;
  }
  opened.loading = false;
  opened.missed = [];
  opened.version++;
  redraw(true);
}

export function leave() {
  store.opened = null;
}

function hear(name, data) {
  if (name === 'snapshot') replace(data);
  else if (name === 'summaries') for (const [service, summary] of Object.entries(data.services)) put(service, summary);
  else if (name === 'event') apply(data);
  // After a resync comes a snapshot.
  redraw();
}

export const stream = new Stream('watch?view=summary&canary=false', hear, (connection) => {
  store.connection = connection;
  redraw(true);
});
