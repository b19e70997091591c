// One stream of changes for the whole page. It reads server-sent events by fetch: EventSource would hide the keep-alive
// comments (a dead connection shows no error), the HTTP status (429 means: later) and could send no token.

import { Failure, headers } from './api.js';

const SILENT_MS = 40_000; // the daemon sends something every 15 s
const HIDDEN_MS = 20_000; // browsers allow six connections to one host, so a hidden page gives its own back
const WAITS_MS = [250, 500, 1000, 2000, 4000, 8000];

export class Stream {
  /** Follows `path`: `hear(name, data)` gets each message, `tell(state)` each change of the connection. */
  constructor(path, hear, tell) {
    Object.assign(this, { path, hear, tell, state: 'connecting', since: Date.now(), failures: 0, heard: 0, abort: null, timer: 0, hiding: 0 });
    document.addEventListener('visibilitychange', () => this.#seen());
    addEventListener('online', () => this.retry());
    setInterval(() => this.#watchdog(), 5000);
  }

  /** Connects at once, unless it is connected. */
  retry() {
    if (this.state === 'live') return;
    clearTimeout(this.timer);
    this.failures = 0;
    this.open();
  }

  /** Lets go of the connection until `retry`. */
  close(state) {
    clearTimeout(this.timer);
    const abort = this.abort;
    this.abort = null;
    abort?.abort();
    this.#say(state);
  }

  async open() {
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    try {
      const answer = await fetch(this.path, { signal: abort.signal, headers: { accept: 'text/event-stream', ...headers() }, cache: 'no-store' });
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        throw Object.assign(new Failure(answer.status, problem), { after: Number(answer.headers.get('retry-after')) });
      }
      this.heard = Date.now();
      await this.#read(answer.body.getReader());
      throw new Error('the daemon ended the stream');
    } catch (error) {
      if (abort !== this.abort) return;
      this.abort = null;
      if (error.status === 401) this.#say('locked');
      else this.#later(error);
    }
  }

  async #read(reader) {
    const text = new TextDecoder();
    let pieces = []; // of a line that is not complete yet: a snapshot comes in many chunks
    let event = { name: 'message', data: [] };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heard = Date.now();
      if (this.state !== 'live') {
        this.failures = 0;
        this.#say('live');
      }
      const chunk = text.decode(value, { stream: true });
      let from = 0;
      for (let end = chunk.indexOf('\n'); end >= 0; from = end + 1, end = chunk.indexOf('\n', from)) {
        pieces.push(chunk.slice(from, end));
        const line = pieces.join('');
        pieces = [];
        if (line === '') {
          if (event.data.length) this.hear(event.name, JSON.parse(event.data.join('\n')));
          event = { name: 'message', data: [] };
        } else if (line.startsWith('data:')) event.data.push(line.slice(line[5] === ' ' ? 6 : 5));
        else if (line.startsWith('event:')) event.name = line.slice(6).trim();
      }
      if (from < chunk.length) pieces.push(chunk.slice(from));
    }
  }

  #later(error) {
    const wait = (error.after > 0 && error.after * 1000) || WAITS_MS[Math.min(this.failures++, WAITS_MS.length - 1)];
    const ms = wait * (0.8 + Math.random() * 0.4);
    const reason = error instanceof Failure || error.message === 'the daemon ended the stream' ? error.message : 'the daemon does not answer';
    this.#say('lost', { reason, at: Date.now() + ms });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), ms);
  }

  #watchdog() {
    if (this.state !== 'live' || Date.now() - this.heard <= SILENT_MS) return;
    const abort = this.abort;
    this.abort = null;
    abort?.abort();
    this.#later(new Failure(0, { detail: 'nothing was received for 40 s' }));
  }

  #seen() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.state === 'live' && this.close('paused'), HIDDEN_MS);
    else if (this.state === 'paused' || this.state === 'lost') this.retry();
  }

  /** While it is not live, `heard` is the time that the page shows. */
  #say(state, more = {}) {
    this.state = state;
    this.tell({ state, heard: this.heard, ...more });
  }
}
