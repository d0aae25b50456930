// Offsets of the rows of a long list, from their heights. Pure.

export class RowOffsets {
  readonly #offsets: Float64Array; // of row i, without the padding; one more for the total height
  readonly #padding: number;

  /** `minHeight`: if all rows together are less high than that, padding moves them to the bottom. */
  constructor(heights: ArrayLike<number>, minHeight = 0) {
    const offsets = new Float64Array(heights.length + 1);
    let top = 0;
    for (let i = 0; i < heights.length; i++) {
      offsets[i] = top;
      top += heights[i] as number;
    }
    offsets[heights.length] = top;
    this.#offsets = offsets;
    this.#padding = Math.max(0, minHeight - top);
  }

  get total(): number {
    return this.top(this.#offsets.length - 1);
  }

  top(row: number): number {
    return (this.#offsets[row] as number) + this.#padding;
  }

  /** Return the row at this height: the last one that starts at or above it; 0 if there are no rows. */
  rowAt(y: number): number {
    let low = 0;
    let high = this.#offsets.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** Return the first row, and the one after the last, with a part between these heights. */
  rowsBetween(from: number, to: number): [number, number] {
    const rows = this.#offsets.length - 1;
    if (rows === 0) return [0, 0];
    return [this.rowAt(from), Math.min(rows, this.rowAt(to) + 1)];
  }
}
