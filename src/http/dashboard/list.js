// A list of which only the visible rows exist. Rows have one height, so that place and index are the same thing.

import { h, redraw } from './view.js';

const OVER = 6; // rows drawn beyond each edge
export const HEAD = 34;
const lists = new Map();

export function stateOf(id) {
  if (!lists.has(id)) lists.set(id, { top: 0, rows: 30, active: null, wanted: null, hovered: false, dom: null });
  return lists.get(id);
}

/** True while pointer or focus is in the list: its order does not change then. */
export const isHeld = (id) => {
  const state = stateOf(id);
  return state.hovered || (state.dom?.contains(document.activeElement) ?? false);
};

/** Keeps the order that was shown while the list is held, and its filter, `wanted`, is the same; new items come last. */
export function ordered(id, items, keyOf, compare, wanted) {
  const state = stateOf(id);
  const sorted = items.toSorted(compare);
  if (!isHeld(id) || !state.order || state.filter !== wanted) {
    state.filter = wanted;
    state.order = sorted.map(keyOf);
    return sorted;
  }
  const byKey = new Map(sorted.map((one) => [keyOf(one), one]));
  const kept = [];
  for (const key of state.order) {
    if (byKey.has(key)) kept.push(byKey.get(key));
    byKey.delete(key);
  }
  const all = [...kept, ...byKey.values()];
  state.order = all.map(keyOf);
  return all;
}

/**
 * `items` with `keyOf`, each drawn by `row(item)` as its cells; `head` has the names of the columns. Arrow keys, j, k,
 * Home, End and Page keys move, Enter opens; rows of which `isNew(item)` is true light up. The active row is always drawn, so the focus is never lost by scrolling.
 */
export function grid({ id, items, keyOf, row, head, label, height = 44, onopen, selected, isNew }) {
  const state = stateOf(id);
  const activeAt = () => (state.active == null ? -1 : items.findIndex((one) => keyOf(one) === state.active));

  const move = (to) => {
    const index = Math.max(0, Math.min(items.length - 1, to));
    if (!items[index]) return;
    state.active = state.wanted = keyOf(items[index]);
    const box = state.dom;
    const room = box.clientHeight - HEAD; // the head stays at the top of the box
    if (index * height < box.scrollTop) box.scrollTop = index * height;
    else if ((index + 1) * height > box.scrollTop + room) box.scrollTop = (index + 1) * height - room;
    state.top = box.scrollTop;
    redraw(true);
  };
  const onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('button,input,select')) return;
    const page = Math.max(1, state.rows - 2);
    const at = activeAt();
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page }[event.key];
    if (step) move(at < 0 ? Math.ceil(state.top / height) : at + step);
    else if (event.key === 'Home') move(0);
    else if (event.key === 'End') move(items.length - 1);
    else if (event.key === 'Enter' && at >= 0) onopen?.(items[at]);
    else return;
    event.preventDefault();
  };

  const at = activeAt();
  const first = Math.max(0, Math.min(Math.floor(state.top / height) - OVER, items.length - 1));
  const last = Math.min(items.length, first + state.rows + 2 * OVER);
  const drawn = [];
  for (let index = first; index < last; index++) drawn.push(index);
  if (at >= 0 && (at < first || at >= last)) drawn.push(at);
  const tabbed = at >= 0 ? at : first;

  const measure = (box) => {
    const rows = Math.ceil(box.clientHeight / height);
    if (rows !== state.rows || box.scrollTop !== state.top) {
      Object.assign(state, { rows, top: box.scrollTop });
      redraw(true);
    }
  };
  const props = {
    class: 'vbody', role: 'grid', 'aria-label': label, 'aria-rowcount': items.length + 1, 'aria-colcount': head.length,
    onkeydown,
    onscroll: (event) => measure(event.currentTarget),
    onpointerenter: () => { state.hovered = true; },
    onpointerleave: () => { state.hovered = false; redraw(); },
    mounted: (box) => {
      state.dom = box;
      box.scrollTop = state.top;
      state.sizes = new ResizeObserver(() => measure(box));
      state.sizes.observe(box);
    },
    updated: (box) => {
      state.dom = box;
      if (state.wanted == null) return;
      box.querySelector(`[data-key="${CSS.escape(state.wanted)}"]`)?.focus({ preventScroll: true });
      state.wanted = null;
    },
    removed: () => {
      state.sizes.disconnect();
      Object.assign(state, { dom: null, hovered: false });
    },
  };
  const line = (index) => {
    const item = items[index];
    const key = keyOf(item);
    return h('div', {
      key, 'data-key': key, role: 'row', 'aria-rowindex': index + 2, 'aria-selected': selected === key ? 'true' : null,
      class: `row${selected === key ? ' selected' : ''}${onopen ? ' opens' : ''}${isNew?.(item) ? ' flash' : ''}`, tabindex: index === tabbed ? 0 : -1,
      style: { transform: `translateY(${index * height}px)`, height: `${height}px` },
      onclick: (event) => { if (!event.target.closest('a,button,input')) { state.active = key; onopen?.(item); } },
      onfocus: () => { state.active = key; },
    }, row(item));
  };
  return h('div', { class: 'vlist', key: id }, h('div', props,
    h('div', { role: 'rowgroup', class: 'vtop' }, h('div', { class: 'vhead row', role: 'row', 'aria-rowindex': 1 }, head.map(([name, kind]) => h('span', { role: 'columnheader', class: kind ?? null }, name)))),
    h('div', { class: 'vspace', role: 'rowgroup', style: { height: `${items.length * height}px` } }, drawn.map(line))));
}

export const cell = (kind, ...kids) => h('span', { role: 'gridcell', class: kind || null }, ...kids);
