// Calls to the API of the daemon that served the page. The token is in memory only: a reload forgets it.

let token = null;
let locked = () => {};

/** What failed, in the daemon's words; `status` is 0 when it did not answer, `errors` has the wrong fields of a 422. */
export class Failure extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `HTTP ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

/** `onlocked` is called when a call is refused for want of a valid token. */
export function login(value, onlocked) {
  token = value;
  if (onlocked) locked = onlocked;
}
export const hasToken = () => token !== null;
export const headers = () => (token ? { authorization: `Bearer ${token}` } : {});

export async function ask(method, path, body) {
  let answer;
  try {
    const more = body === undefined ? {} : { 'content-type': 'application/json' };
    answer = await fetch(path, { method, headers: { ...headers(), ...more }, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store' });
  } catch {
    throw new Failure(0, { detail: 'The daemon does not answer.' });
  }
  const text = await answer.text();
  let json = null;
  try { json = text ? JSON.parse(text) : null; } catch { /* an answer that is no JSON has no detail */ }
  if (!answer.ok) {
    if (answer.status === 401) locked();
    throw new Failure(answer.status, json ?? {});
  }
  return json;
}

const part = encodeURIComponent;
const get = (path) => ask('GET', path);
const queue = (vhost, name) => `broker/queues/${part(vhost)}/${part(name)}`;

export const api = {
  info: () => get('system/info'),
  limits: () => get('system/limits'),
  config: () => get('system/config'),
  ready: () => get('ready'),
  whoami: () => get('auth/whoami'),
  events: (query) => get(`events?canary=false&${new URLSearchParams(query)}`),
  members: (name) => get(`services/discover/${part(name)}?healthy_only=false`),
  health: (name, limit) => get(`health/${part(name)}?limit=${limit}`),
  checks: (id) => get(`services/${part(id)}/health`),
  register: (draft) => ask('POST', 'services/register', draft),
  deregister: (id, incarnation) => ask('DELETE', `services/${part(id)}?incarnation=${incarnation}`),
  check: (id) => ask('POST', `services/${part(id)}/check`),
  override: (id, status, reason) => ask('PUT', `services/${part(id)}/override`, { status, reason }),
  lift: (id) => ask('DELETE', `services/${part(id)}/override`),
  webhooks: () => get('watchers'),
  addWebhook: (draft) => ask('POST', 'watchers', draft),
  removeWebhook: (id) => ask('DELETE', `watchers/${part(id)}`),
  streams: () => get('watchers/streams'),
  transport: () => get('transport'),
  setMode: (channel, mode) => ask('PUT', 'transport', { channels: { [channel]: mode } }),
  migration: () => get('migration'),
  migrate: (draft) => ask('POST', 'migration', draft),
  overview: () => get('broker/overview'),
  broker: (list, query) => get(`broker/${list}?${new URLSearchParams(query)}`),
  queue: (vhost, name) => get(queue(vhost, name)),
  peek: (vhost, name, count) => get(`${queue(vhost, name)}/messages?count=${count}`),
  purge: (vhost, name) => ask('DELETE', `${queue(vhost, name)}/messages`),
  deleteQueue: (vhost, name) => ask('DELETE', queue(vhost, name)),
  publish: (draft) => ask('POST', 'broker/publish', draft),
  resolve: (path, method) => get(`gateway/resolve?${new URLSearchParams({ path, method })}`),
  setRoute: (id, draft) => ask('PUT', `gateway/routes/${part(id)}`, draft),
  removeRoute: (id) => ask('DELETE', `gateway/routes/${part(id)}`),
};
