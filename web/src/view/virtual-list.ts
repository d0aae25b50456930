// A long list of rows of which only those near what is seen are in the page.
//
// Heights are estimated until a row has been in the page, then measured. What the reader looks at stays where it is,
// whatever happens above: the place is kept as an anchor (this row, so far from the upper edge; or the end) and the
// scroll position follows from it, not the other way round, but for scrolling by the reader, which gives a new anchor.
// The browser's own anchoring is off (style.css): it does not know what is not in the page.
// Rows have no margins: their heights are all there is between them.

import { RowOffsets } from "./row-offsets.ts";
import { isSameRow, type Row } from "./rows.ts";

/** Where the reader is. `offset`: pixels from the upper edge of what is seen to that of the row. */
export type Anchor = { type: "end" } | { type: "row"; key: string; offset: number };

export const END: Anchor = { type: "end" };

const END_TOLERANCE = 8; // pixels from the end that still are the end: positions are rounded
const MAX_STALE_HEIGHTS = 1000; // heights of rows that are gone, beside as many as there are rows
const MAX_SELECTED_ROWS = 400; // rows in the page at most while a selection reaches over them

export class VirtualList {
  #rows: readonly Row[] = [];
  #heights = new Float64Array(0); // of the rows: measured or guessed
  #cachedHeights = new Map<string, { height: number; measured: boolean }>(); // by key: rows come in other places
  #offsets = new RowOffsets(this.#heights);
  #rendered = new Map<string, { row: Row; element: HTMLElement }>();
  #first = 0; // of the rows in the page
  #last = 0; // the one after them
  #anchor: Anchor = END;
  #anchorRow = -1; // the row that the anchor is at, if the rows are as they were
  #lastScrollTop = -1; // the scroll position that was set from here last
  #viewHeight = 0; // height of what is seen
  #topSpacer = document.createElement("div"); // stand for what is not in the page
  #bottomSpacer = document.createElement("div");
  #resizeObserver: ResizeObserver;

  /** `moved`: called after each change of what is seen. */
  constructor(
    readonly scroller: HTMLElement,
    private readonly createElement: (row: Row) => HTMLElement,
    private readonly estimateHeight: (row: Row, width: number) => number,
    private readonly onScroll: () => void,
  ) {
    scroller.replaceChildren(this.#topSpacer, this.#bottomSpacer);
    scroller.addEventListener("scroll", () => this.#onScrolled(), { passive: true });
    this.#resizeObserver = new ResizeObserver((changes) => this.#onResized(changes));
    this.#resizeObserver.observe(scroller);
    this.#viewHeight = scroller.clientHeight;
  }

  get anchor(): Anchor {
    return this.#anchor;
  }

  get atEnd(): boolean {
    return this.#anchor.type === "end";
  }

  /** Pixels above what is seen. */
  get scrollTop(): number {
    return this.scroller.scrollTop;
  }

  /** How many rows are in the page. */
  get size(): number {
    return this.#rendered.size;
  }

  /** Show these rows, from here on from that place if one is given, and there still is. */
  show(rows: readonly Row[], anchor?: Anchor): void {
    this.#setRows(rows);
    if (anchor) this.#anchor = anchor.type === "row" && this.#findRow(anchor.key) === -1 ? END : anchor;
    this.#render();
  }

  /** Forget everything: other rows come. */
  clear(): void {
    for (const { element } of this.#rendered.values()) this.#removeElement(element);
    this.#rendered.clear();
    this.#cachedHeights.clear();
    this.#rows = [];
    this.#heights = new Float64Array(0);
    this.#anchor = END;
    this.#first = this.#last = 0;
  }

  /** Make every row that is in the page again: what it says depends on the time. */
  redraw(): void {
    for (const { element } of this.#rendered.values()) this.#removeElement(element);
    this.#rendered.clear();
    this.#render();
  }

  toEnd(): void {
    this.#anchor = END;
    this.#render();
  }

  scrollBy(pixels: number): void {
    this.scroller.scrollTop += pixels;
    this.#onScrolled();
  }

  /** Keep this row where it is now, though it grows: what is folded out below a click must not push it away. */
  keepInPlace(key: string): void {
    const element = this.#rendered.get(key)?.element;
    if (!element) return;
    const offset = element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.#anchor = { type: "row", key, offset };
    // When it has grown, or not: it may be at the end still, and follows what is new then.
    requestAnimationFrame(() => setTimeout(() => this.#render()));
  }

  #setRows(rows: readonly Row[]): void {
    const width = this.scroller.clientWidth;
    const heights = new Float64Array(rows.length);
    const common = Math.min(rows.length, this.#rows.length);
    let i = 0;
    for (; i < common && rows[i]?.key === this.#rows[i]?.key; i++) heights[i] = this.#heights[i] as number;
    for (; i < rows.length; i++) {
      const row = rows[i] as Row;
      let cached = this.#cachedHeights.get(row.key);
      if (!cached) {
        cached = { height: this.estimateHeight(row, width), measured: false };
        this.#cachedHeights.set(row.key, cached);
      }
      heights[i] = cached.height;
    }
    this.#rows = rows;
    this.#heights = heights;
    this.#layOut();
    if (this.#cachedHeights.size > 2 * rows.length + MAX_STALE_HEIGHTS) this.#pruneHeights();
  }

  /** Those that are gone are looked for in all of them: seldom. */
  #pruneHeights(): void {
    const keys = new Set(this.#rows.map((row) => row.key));
    for (const key of this.#cachedHeights.keys()) if (!keys.has(key)) this.#cachedHeights.delete(key);
  }

  #layOut(): void {
    this.#offsets = new RowOffsets(this.#heights, this.#viewHeight); // few of them stand at the foot
  }

  /** The scroll position that the anchor asks for. */
  #targetScrollTop(): number {
    const max = Math.max(0, this.#offsets.total - this.#viewHeight);
    const anchor = this.#anchor;
    if (anchor.type === "end") return max;
    if (this.#rows[this.#anchorRow]?.key !== anchor.key) this.#anchorRow = this.#findRow(anchor.key);
    const row = this.#anchorRow;
    if (row === -1) return Math.min(max, this.scroller.scrollTop); // it is gone: what is there now is as good
    return Math.min(max, Math.max(0, this.#offsets.top(row) - anchor.offset));
  }

  /** By its key, or that of an entry that has been folded into it since. */
  #findRow(key: string): number {
    const found = this.#rows.findIndex((row) => row.key === key);
    if (found !== -1 || !key.startsWith("membership:")) return found;
    const entry = key.slice("membership:".length);
    return this.#rows.findIndex(
      (row) => row.kind === "membership" && row.entries.some((one) => one.key === entry),
    );
  }

  #render(): void {
    let target = this.#targetScrollTop();
    // What comes into the page is measured, which moves what is below it, which may bring others into the page.
    for (let pass = 0; pass < 4; pass++) {
      const margin = Math.max(400, this.#viewHeight * 0.75);
      this.#renderRows(...this.#offsets.rowsBetween(target - margin, target + this.#viewHeight + margin));
      if (!this.#measure()) break;
      this.#layOut();
      target = this.#targetScrollTop();
    }
    this.#topSpacer.style.height = `${this.#offsets.top(this.#first)}px`;
    this.#bottomSpacer.style.height = `${this.#offsets.total - this.#offsets.top(this.#last)}px`;
    if (Math.abs(this.scroller.scrollTop - target) >= 1) this.scroller.scrollTop = target;
    this.#lastScrollTop = this.scroller.scrollTop;
    if (target + this.#viewHeight >= this.#offsets.total - END_TOLERANCE) this.#anchor = END; // that place is the end, too
    this.onScroll();
  }

  /** Have the rows from first to last in the page, and no others. */
  #renderRows(first: number, last: number): void {
    if (last > first && this.#hasSelection()) {
      // A selection that loses its ends is a selection of something else.
      const [from, to] = [Math.min(first, this.#first), Math.max(last, this.#last)];
      if (to - from <= MAX_SELECTED_ROWS && to <= this.#rows.length) [first, last] = [from, to];
    }
    const wanted = this.#rows.slice(first, last);
    const keys = new Set(wanted.map((row) => row.key));
    for (const [key, { element }] of this.#rendered) {
      if (keys.has(key)) continue;
      this.#removeElement(element);
      this.#rendered.delete(key);
    }
    let next = this.#topSpacer.nextSibling;
    for (const row of wanted) {
      const old = this.#rendered.get(row.key);
      if (old && (old.row === row || isSameRow(old.row, row))) {
        old.row = row;
        if (old.element === next) next = next.nextSibling;
        else this.scroller.insertBefore(old.element, next);
        continue;
      }
      const element = this.createElement(row);
      this.#rendered.set(row.key, { row, element });
      if (old) {
        if (old.element === next) next = next.nextSibling;
        this.#removeElement(old.element);
        this.#cachedHeights.delete(row.key);
      }
      this.scroller.insertBefore(element, next);
      this.#resizeObserver.observe(element);
    }
    this.#first = first;
    this.#last = last;
  }

  #removeElement(element: HTMLElement): void {
    this.#resizeObserver.unobserve(element);
    const focused = element.contains(document.activeElement);
    element.remove();
    if (focused) this.scroller.focus({ preventScroll: true }); // and not nowhere
  }

  #hasSelection(): boolean {
    const selection = document.getSelection();
    return !!selection && !selection.isCollapsed && this.scroller.contains(selection.anchorNode);
  }

  /** Returns whether a height is another than it was taken for. */
  #measure(): boolean {
    let changed = false;
    for (let i = this.#first; i < this.#last; i++) {
      const { key } = this.#rows[i] as Row;
      if (this.#cachedHeights.get(key)?.measured) continue;
      const element = this.#rendered.get(key)?.element;
      if (element && this.#setHeight(i, element.getBoundingClientRect().height)) changed = true;
    }
    return changed;
  }

  #setHeight(row: number, height: number): boolean {
    this.#cachedHeights.set((this.#rows[row] as Row).key, { height, measured: true });
    if (this.#heights[row] === height) return false;
    this.#heights[row] = height;
    return true;
  }

  #onScrolled(): void {
    const top = this.scroller.scrollTop;
    if (Math.abs(top - this.#lastScrollTop) < 1) return; // it was set from here
    if (top + this.#viewHeight >= this.#offsets.total - END_TOLERANCE) this.#anchor = END;
    else {
      let row = this.#offsets.rowAt(top);
      // Not a day or a line for new ones: when older ones come, those move up, and what is read does not.
      while (row < this.#rows.length - 1 && !isStableAnchor(this.#rows[row])) row++;
      const key = this.#rows[row]?.key;
      if (key !== undefined) this.#anchor = { type: "row", key, offset: this.#offsets.top(row) - top };
    }
    this.#render();
  }

  #onResized(changes: readonly ResizeObserverEntry[]): void {
    const rows = new Map<Element, number>();
    for (let i = this.#first; i < this.#last; i++) {
      const element = this.#rendered.get(this.#rows[i]?.key ?? "")?.element;
      if (element) rows.set(element, i);
    }
    let changed = false;
    for (const { target } of changes) {
      if (target === this.scroller) {
        this.#viewHeight = this.scroller.clientHeight;
        changed = true;
        continue;
      }
      const row = rows.get(target);
      if (row !== undefined && this.#setHeight(row, target.getBoundingClientRect().height)) changed = true;
    }
    if (!changed) return;
    this.#layOut();
    this.#render();
  }
}

function isStableAnchor(row: Row | undefined): boolean {
  return row?.kind === "entry" || row?.kind === "membership";
}
