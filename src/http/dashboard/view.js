// Views: descriptions of elements, and one function that makes the document match them.
//
// Contract
// - `h(tag, props, ...kids)` describes an element. Kids are descriptions, text, numbers or lists of these; null,
//   undefined, false and true are nothing. A function as the tag is called with (props, kids) and gives a description.
// - `patch(parent, kids)` makes the children of `parent` match. An element is kept when its key (or, without keys, its
//   tag and order) is the same, so its focus, scroll position and typed text stay. A description that is the same object
//   as before is skipped: this is how unchanged rows cost nothing.
// - Text is always a text node. Nothing here, nor elsewhere in the dashboard, parses markup.
// - Props: `key`; `onclick` and the like are listeners; `style` is an object of CSS properties; `value`, `checked` and
//   `open` are set as properties when they differ; `initial` sets an input's value once; `mounted(element)` is called
//   when the element is in the document, `updated(element)` after each patch, `removed(element)` when it has left;
//   anything else is an attribute, which null or false removes.
// - `redraw()` asks for a patch of the whole page: at most five a second. `redraw(true)` asks for it in the next frame.

const SVG = 'http://www.w3.org/2000/svg';
const TEXT = '#';
const PROPERTIES = new Set(['value', 'checked', 'open']);
const SPECIAL = new Set(['key', 'mounted', 'updated', 'removed', 'initial', 'style']);

export function h(tag, props, ...kids) {
  props ??= {};
  if (typeof tag === 'function') return tag(props, kids);
  return { tag, key: props.key ?? null, props, kids: list(kids), dom: null };
}

function list(kids, into = []) {
  for (const kid of kids) {
    if (kid == null || kid === false || kid === true || kid === '') continue;
    if (Array.isArray(kid)) list(kid, into);
    else if (typeof kid === 'object') into.push(kid);
    else into.push({ tag: TEXT, key: null, text: String(kid), dom: null });
  }
  return into;
}

const lists = new WeakMap(); // element -> the descriptions of its children
let after = []; // called when a patch is complete

export function patch(parent, kids) {
  const focused = document.activeElement;
  children(parent, list([kids]), parent.namespaceURI === SVG);
  if (focused && focused !== document.activeElement && focused !== document.body && focused.isConnected) focused.focus({ preventScroll: true });
  const calls = after;
  after = [];
  for (const call of calls) call();
}

function children(parent, next, svg) {
  const old = lists.get(parent) ?? [];
  lists.set(parent, next);
  const keyed = new Map();
  const rest = [];
  for (const one of old) {
    if (one.key == null) rest.push(one);
    else keyed.set(one.key, one);
  }
  let at = 0;
  for (const one of next) {
    let same = null;
    if (one.key != null) {
      same = keyed.get(one.key);
      if (same && same.tag === one.tag) keyed.delete(one.key);
      else same = null;
    } else {
      let from = at;
      while (from < rest.length && rest[from].tag !== one.tag) from++;
      if (from < rest.length) {
        for (; at < from; at++) remove(rest[at]);
        same = rest[at++];
      }
    }
    if (same) update(same, one, svg);
    else create(one, svg);
  }
  for (; at < rest.length; at++) remove(rest[at]);
  for (const one of keyed.values()) remove(one);
  let place = parent.firstChild;
  for (const one of next) {
    if (one.dom === place) place = place.nextSibling;
    else parent.insertBefore(one.dom, place);
  }
  // What was there before the first patch.
  while (old.length === 0 && place) {
    const more = place.nextSibling;
    place.remove();
    place = more;
  }
}

function create(one, svg) {
  if (one.tag === TEXT) {
    one.dom = document.createTextNode(one.text);
    return;
  }
  const inside = svg || one.tag === 'svg';
  const dom = (one.dom = inside ? document.createElementNS(SVG, one.tag) : document.createElement(one.tag));
  children(dom, one.kids, inside);
  set(dom, {}, one.props);
  const { mounted, updated, initial } = one.props;
  if (initial != null) dom.value = initial;
  if (mounted) after.push(() => mounted(dom));
  if (updated) after.push(() => updated(dom));
}

function update(old, one, svg) {
  const dom = (one.dom = old.dom);
  if (old === one) return;
  if (one.tag === TEXT) {
    if (old.text !== one.text) dom.nodeValue = one.text;
    return;
  }
  children(dom, one.kids, svg || one.tag === 'svg');
  set(dom, old.props, one.props);
  const { updated } = one.props;
  if (updated) after.push(() => updated(dom));
}

function remove(one) {
  one.dom.remove();
  gone(one);
}

function gone(one) {
  if (one.tag === TEXT) return;
  one.props.removed?.(one.dom);
  for (const kid of one.kids) gone(kid);
}

const heard = new WeakMap(); // element -> event -> listener

function hear(event) {
  return heard.get(event.currentTarget)?.[event.type]?.(event);
}

function set(dom, old, props) {
  for (const name in old) {
    if (!(name in props)) one(dom, name, old[name], null);
  }
  for (const name in props) one(dom, name, old[name], props[name]);
  style(dom, old.style, props.style);
}

function one(dom, name, old, value) {
  if (SPECIAL.has(name)) return;
  if (name.startsWith('on')) {
    const event = name.slice(2);
    const listeners = heard.get(dom) ?? {};
    if (!(event in listeners)) dom.addEventListener(event, hear, event === 'scroll' ? { passive: true } : undefined);
    listeners[event] = value;
    heard.set(dom, listeners);
  } else if (PROPERTIES.has(name)) {
    if (dom[name] !== value) dom[name] = value ?? '';
  } else if (value !== old) {
    if (value == null || value === false) dom.removeAttribute(name);
    else dom.setAttribute(name, value === true ? '' : value);
  }
}

function style(dom, old = {}, next = {}) {
  for (const name in old) if (!(name in next)) dom.style.removeProperty(name);
  for (const name in next) if (next[name] !== old[name]) dom.style.setProperty(name, next[name]);
}

const DRAW_MS = 200;
let draw = () => {};
let timer = 0;
let frame = 0;
let drawn = 0;

/** `page()` gives the description of the whole page; `root` is where it is put. */
export function show(root, page) {
  draw = () => {
    frame = 0;
    drawn = performance.now();
    patch(root, page());
  };
  draw();
}

export function redraw(soon = false) {
  if (frame) return;
  if (soon) {
    clearTimeout(timer);
    timer = 0;
    frame = requestAnimationFrame(draw);
  } else if (!timer) {
    timer = setTimeout(() => {
      timer = 0;
      frame ||= requestAnimationFrame(draw);
    }, Math.max(0, drawn + DRAW_MS - performance.now()));
  }
}
