// Virtual list: only the rows near the visible ones are in the page.
//
// Heights are estimated until a row has been in the page, then measured. The visible rows keep their place,
// whatever happens above them: an anchor (a row at a distance from the upper edge; or the end) determines the
// scroll position. Only scrolling by the reader sets a new anchor. style.css turns the browser's own
// anchoring off, because it does not know the rows outside the page. Rows have no margins, so that their
// heights add up.

import { RowOffsets } from "./row-offsets.ts";
import { isSameRow, type Row } from "./rows.ts";

/** The reader's position. `offset`: pixels from the upper edge of the list to the upper edge of the row. */
export type Anchor = { type: "end" } | { type: "row"; key: string; offset: number };

export const END: Anchor = { type: "end" };

const END_TOLERANCE = 8; // pixels: positions are rounded
const MAX_STALE_HEIGHTS = 1000; // cached heights of removed rows, above the number of present rows
const MAX_SELECTED_ROWS = 400; // rows in the page while a selection spans them

export class VirtualList {
  #rows: readonly Row[] = [];
  #heights = new Float64Array(0); // measured or estimated
  // By key, because rows change places.
  #cachedHeights = new Map<string, { height: number; measured: boolean }>();
  #offsets = new RowOffsets(this.#heights);
  #rendered = new Map<string, { row: Row; element: HTMLElement }>();
  #first = 0; // of the rows in the page
  #last = 0; // the row after the last one in the page
  #anchor: Anchor = END;
  #anchorRow = -1; // index of the anchor's row, if the rows did not change
  #lastScrollTop = -1; // the scroll position that this class set last
  #viewHeight = 0; // height of the visible part
  #topSpacer = document.createElement("div"); // stands for the rows above the page
  #bottomSpacer = document.createElement("div");
  #resizeObserver: ResizeObserver;

  /** `onScroll` is called after each change of the visible part. */
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

  /** Pixels above the visible part. */
  get scrollTop(): number {
    return this.scroller.scrollTop;
  }

  /** Number of rows in the page. */
  get size(): number {
    return this.#rendered.size;
  }

  /** Show these rows, at that anchor if it is given and its row exists. */
  show(rows: readonly Row[], anchor?: Anchor): void {
    this.#setRows(rows);
    if (anchor) this.#anchor = anchor.type === "row" && this.#findRow(anchor.key) === -1 ? END : anchor;
    this.#render();
  }

  /** Remove all rows, to show another conversation. */
  clear(): void {
    for (const { element } of this.#rendered.values()) this.#removeElement(element);
    this.#rendered.clear();
    this.#cachedHeights.clear();
    this.#rows = [];
    this.#heights = new Float64Array(0);
    this.#anchor = END;
    this.#first = this.#last = 0;
  }

  /** Make all elements again, because their content depends on the time. */
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

  /** Keep the position of a row that is about to grow, so that it expands downwards. */
  keepInPlace(key: string): void {
    const element = this.#rendered.get(key)?.element;
    if (!element) return;
    const offset = element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.#anchor = { type: "row", key, offset };
    // After it has grown, or not: the list may still be at the end, and then follows new rows.
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

  /** Remove the heights of rows that are gone. It searches all rows, so it runs seldom. */
  #pruneHeights(): void {
    const keys = new Set(this.#rows.map((row) => row.key));
    for (const key of this.#cachedHeights.keys()) if (!keys.has(key)) this.#cachedHeights.delete(key);
  }

  #layOut(): void {
    this.#offsets = new RowOffsets(this.#heights, this.#viewHeight); // few rows stand at the bottom
  }

  /** The scroll position for the anchor. */
  #targetScrollTop(): number {
    const max = Math.max(0, this.#offsets.total - this.#viewHeight);
    const anchor = this.#anchor;
    if (anchor.type === "end") return max;
    if (this.#rows[this.#anchorRow]?.key !== anchor.key) this.#anchorRow = this.#findRow(anchor.key);
    const row = this.#anchorRow;
    if (row === -1) return Math.min(max, this.scroller.scrollTop); // the row is gone: stay here
    return Math.min(max, Math.max(0, this.#offsets.top(row) - anchor.offset));
  }

  /** Find a row by its key, or by the key of an entry that was folded into it since. */
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
    // Measuring a row that enters the page moves the rows below it, which may bring more rows into the page.
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
    // This place is the end, too.
    if (target + this.#viewHeight >= this.#offsets.total - END_TOLERANCE) this.#anchor = END;
    this.onScroll();
  }

  /** Have exactly the rows from first to last in the page. */
  #renderRows(first: number, last: number): void {
    if (last > first && this.#hasSelection()) {
      // A selection must keep both of its ends.
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
    if (focused) this.scroller.focus({ preventScroll: true }); // do not lose the focus
  }

  #hasSelection(): boolean {
    const selection = document.getSelection();
    return !!selection && !selection.isCollapsed && this.scroller.contains(selection.anchorNode);
  }

  /** Measure the new rows. Return whether a height changed. */
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
    if (Math.abs(top - this.#lastScrollTop) < 1) return; // this class set it
    if (top + this.#viewHeight >= this.#offsets.total - END_TOLERANCE) this.#anchor = END;
    else {
      let row = this.#offsets.rowAt(top);
      // Not a day or the line for new messages: these move up when older messages arrive, and the text must
      // not move.
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
