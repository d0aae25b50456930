// Where the rows of a long list are, by their heights. Pure.

export class Tops {
  readonly #tops: Float64Array; // of row i, under the lead; one more at the end, for the height of all
  readonly #lead: number;

  /** `least`: if all of them together are less high than that, they stand at its foot. */
  constructor(heights: ArrayLike<number>, least = 0) {
    const tops = new Float64Array(heights.length + 1);
    let top = 0;
    for (let i = 0; i < heights.length; i++) {
      tops[i] = top;
      top += heights[i] as number;
    }
    tops[heights.length] = top;
    this.#tops = tops;
    this.#lead = Math.max(0, least - top);
  }

  get total(): number {
    return this.top(this.#tops.length - 1);
  }

  top(row: number): number {
    return (this.#tops[row] as number) + this.#lead;
  }

  /** The row that is at this height: the last one whose top is not below it; 0 if there is none. */
  at(y: number): number {
    let low = 0;
    let high = this.#tops.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** First row and the one after the last that have something between these heights. */
  between(from: number, to: number): [number, number] {
    const rows = this.#tops.length - 1;
    if (rows === 0) return [0, 0];
    return [this.at(from), Math.min(rows, this.at(to) + 1)];
  }
}
