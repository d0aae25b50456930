// A long list of rows of which only those near what is seen are in the page.
//
// Heights are estimated until a row has been in the page, then measured. What the reader looks at stays where it is,
// whatever happens above: the place is kept as an anchor (this row, so far from the upper edge; or the end) and the
// scroll position follows from it, not the other way round, but for scrolling by the reader, which gives a new anchor.
// The browser's own anchoring is off (style.css): it does not know what is not in the page.
// Rows have no margins: their heights are all there is between them.

import { type Row, same } from "./rows.ts";
import { Tops } from "./tops.ts";

/** Where the reader is. `offset`: pixels from the upper edge of what is seen to that of the row. */
export type Anchor = { at: "end" } | { at: "row"; key: string; offset: number };

export const END: Anchor = { at: "end" };

const SLACK = 8; // pixels from the end that still are the end: positions are rounded
const MOST_GONE = 1000; // heights of rows that are gone, beside as many as there are rows
const MOST_KEPT = 400; // rows in the page at most while a selection reaches over them

export class VirtualList {
  #rows: readonly Row[] = [];
  #heights = new Float64Array(0); // of the rows: measured or guessed
  #known = new Map<string, { height: number; measured: boolean }>(); // by key: rows come in other places
  #tops = new Tops(this.#heights);
  #shown = new Map<string, { row: Row; element: HTMLElement }>();
  #first = 0; // of the rows in the page
  #last = 0; // the one after them
  #anchor: Anchor = END;
  #anchorRow = -1; // the row that the anchor is at, if the rows are as they were
  #written = -1; // the scroll position that was set from here last
  #view = 0; // height of what is seen
  #above = document.createElement("div"); // stand for what is not in the page
  #below = document.createElement("div");
  #sizes: ResizeObserver;

  /** `moved`: called after each change of what is seen. */
  constructor(
    readonly scroller: HTMLElement,
    private readonly make: (row: Row) => HTMLElement,
    private readonly guess: (row: Row, width: number) => number,
    private readonly moved: () => void,
  ) {
    scroller.replaceChildren(this.#above, this.#below);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#sizes = new ResizeObserver((changes) => this.#resized(changes));
    this.#sizes.observe(scroller);
    this.#view = scroller.clientHeight;
  }

  get anchor(): Anchor {
    return this.#anchor;
  }

  get atEnd(): boolean {
    return this.#anchor.at === "end";
  }

  /** Pixels above what is seen. */
  get before(): number {
    return this.scroller.scrollTop;
  }

  /** How many rows are in the page. */
  get size(): number {
    return this.#shown.size;
  }

  /** Show these rows, from here on from that place if one is given, and there still is. */
  show(rows: readonly Row[], anchor?: Anchor): void {
    this.#take(rows);
    if (anchor) this.#anchor = anchor.at === "row" && this.#find(anchor.key) === -1 ? END : anchor;
    this.#render();
  }

  /** Forget everything: other rows come. */
  clear(): void {
    for (const { element } of this.#shown.values()) this.#drop(element);
    this.#shown.clear();
    this.#known.clear();
    this.#rows = [];
    this.#heights = new Float64Array(0);
    this.#anchor = END;
    this.#first = this.#last = 0;
  }

  /** Make every row that is in the page again: what it says depends on the time. */
  redraw(): void {
    for (const { element } of this.#shown.values()) this.#drop(element);
    this.#shown.clear();
    this.#render();
  }

  toEnd(): void {
    this.#anchor = END;
    this.#render();
  }

  scrollBy(pixels: number): void {
    this.scroller.scrollTop += pixels;
    this.#scrolled();
  }

  /** Keep this row where it is now, though it grows: what is folded out below a click must not push it away. */
  hold(key: string): void {
    const element = this.#shown.get(key)?.element;
    if (!element) return;
    const offset = element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.#anchor = { at: "row", key, offset };
    // When it has grown, or not: it may be at the end still, and follows what is new then.
    requestAnimationFrame(() => setTimeout(() => this.#render()));
  }

  #take(rows: readonly Row[]): void {
    const width = this.scroller.clientWidth;
    const heights = new Float64Array(rows.length);
    const had = Math.min(rows.length, this.#rows.length);
    let i = 0;
    for (; i < had && rows[i]?.key === this.#rows[i]?.key; i++) heights[i] = this.#heights[i] as number;
    for (; i < rows.length; i++) {
      const row = rows[i] as Row;
      let known = this.#known.get(row.key);
      if (!known) {
        known = { height: this.guess(row, width), measured: false };
        this.#known.set(row.key, known);
      }
      heights[i] = known.height;
    }
    this.#rows = rows;
    this.#heights = heights;
    this.#place();
    if (this.#known.size > 2 * rows.length + MOST_GONE) this.#forget();
  }

  /** Those that are gone are looked for in all of them: seldom. */
  #forget(): void {
    const keys = new Set(this.#rows.map((row) => row.key));
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
  }

  #place(): void {
    this.#tops = new Tops(this.#heights, this.#view); // few of them stand at the foot
  }

  /** The scroll position that the anchor asks for. */
  #goal(): number {
    const most = Math.max(0, this.#tops.total - this.#view);
    const anchor = this.#anchor;
    if (anchor.at === "end") return most;
    if (this.#rows[this.#anchorRow]?.key !== anchor.key) this.#anchorRow = this.#find(anchor.key);
    const row = this.#anchorRow;
    if (row === -1) return Math.min(most, this.scroller.scrollTop); // it is gone: what is there now is as good
    return Math.min(most, Math.max(0, this.#tops.top(row) - anchor.offset));
  }

  /** By its key, or that of an entry that has been folded into it since. */
  #find(key: string): number {
    const found = this.#rows.findIndex((row) => row.key === key);
    if (found !== -1 || !key.startsWith("moves:")) return found;
    const entry = key.slice("moves:".length);
    return this.#rows.findIndex(
      (row) => row.kind === "moves" && row.entries.some((one) => one.key === entry),
    );
  }

  #render(): void {
    let goal = this.#goal();
    // What comes into the page is measured, which moves what is below it, which may bring others into the page.
    for (let pass = 0; pass < 4; pass++) {
      const near = Math.max(400, this.#view * 0.75);
      this.#fill(...this.#tops.between(goal - near, goal + this.#view + near));
      if (!this.#measure()) break;
      this.#place();
      goal = this.#goal();
    }
    this.#above.style.height = `${this.#tops.top(this.#first)}px`;
    this.#below.style.height = `${this.#tops.total - this.#tops.top(this.#last)}px`;
    if (Math.abs(this.scroller.scrollTop - goal) >= 1) this.scroller.scrollTop = goal;
    this.#written = this.scroller.scrollTop;
    if (goal + this.#view >= this.#tops.total - SLACK) this.#anchor = END; // that place is the end, too
    this.moved();
  }

  /** Have the rows from first to last in the page, and no others. */
  #fill(first: number, last: number): void {
    if (last > first && this.#selecting()) {
      // A selection that loses its ends is a selection of something else.
      const [from, to] = [Math.min(first, this.#first), Math.max(last, this.#last)];
      if (to - from <= MOST_KEPT && to <= this.#rows.length) [first, last] = [from, to];
    }
    const wanted = this.#rows.slice(first, last);
    const keys = new Set(wanted.map((row) => row.key));
    for (const [key, { element }] of this.#shown) {
      if (keys.has(key)) continue;
      this.#drop(element);
      this.#shown.delete(key);
    }
    let next = this.#above.nextSibling;
    for (const row of wanted) {
      const old = this.#shown.get(row.key);
      if (old && (old.row === row || same(old.row, row))) {
        old.row = row;
        if (old.element === next) next = next.nextSibling;
        else this.scroller.insertBefore(old.element, next);
        continue;
      }
      const element = this.make(row);
      this.#shown.set(row.key, { row, element });
      if (old) {
        if (old.element === next) next = next.nextSibling;
        this.#drop(old.element);
        this.#known.delete(row.key);
      }
      this.scroller.insertBefore(element, next);
      this.#sizes.observe(element);
    }
    this.#first = first;
    this.#last = last;
  }

  #drop(element: HTMLElement): void {
    this.#sizes.unobserve(element);
    const focused = element.contains(document.activeElement);
    element.remove();
    if (focused) this.scroller.focus({ preventScroll: true }); // and not nowhere
  }

  #selecting(): boolean {
    const selection = document.getSelection();
    return !!selection && !selection.isCollapsed && this.scroller.contains(selection.anchorNode);
  }

  /** Returns whether a height is another than it was taken for. */
  #measure(): boolean {
    let changed = false;
    for (let i = this.#first; i < this.#last; i++) {
      const { key } = this.#rows[i] as Row;
      if (this.#known.get(key)?.measured) continue;
      const element = this.#shown.get(key)?.element;
      if (element && this.#set(i, element.getBoundingClientRect().height)) changed = true;
    }
    return changed;
  }

  #set(row: number, height: number): boolean {
    this.#known.set((this.#rows[row] as Row).key, { height, measured: true });
    if (this.#heights[row] === height) return false;
    this.#heights[row] = height;
    return true;
  }

  #scrolled(): void {
    const top = this.scroller.scrollTop;
    if (Math.abs(top - this.#written) < 1) return; // it was set from here
    if (top + this.#view >= this.#tops.total - SLACK) this.#anchor = END;
    else {
      let row = this.#tops.at(top);
      // Not a day or a line for new ones: when older ones come, those move up, and what is read does not.
      while (row < this.#rows.length - 1 && !isSaid(this.#rows[row])) row++;
      const key = this.#rows[row]?.key;
      if (key !== undefined) this.#anchor = { at: "row", key, offset: this.#tops.top(row) - top };
    }
    this.#render();
  }

  #resized(changes: readonly ResizeObserverEntry[]): void {
    const rows = new Map<Element, number>();
    for (let i = this.#first; i < this.#last; i++) {
      const element = this.#shown.get(this.#rows[i]?.key ?? "")?.element;
      if (element) rows.set(element, i);
    }
    let changed = false;
    for (const { target } of changes) {
      if (target === this.scroller) {
        this.#view = this.scroller.clientHeight;
        changed = true;
        continue;
      }
      const row = rows.get(target);
      if (row !== undefined && this.#set(row, target.getBoundingClientRect().height)) changed = true;
    }
    if (!changed) return;
    this.#place();
    this.#render();
  }
}

function isSaid(row: Row | undefined): boolean {
  return row?.kind === "entry" || row?.kind === "moves";
}
