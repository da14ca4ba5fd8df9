/** A scrolled list that stays at its end while it grows, unless somebody has scrolled up to read. */

import { patchRows } from "./dom.js";

const NEAR = 48; // pixels

export class Pane {
  /** `more` is the button that appears when something new is below what one reads. */
  constructor(scroller, list, more) {
    this.scroller = scroller;
    this.list = list;
    this.more = more;
    this.place = "";
    this.last = "";
    this.atEnd = true;
    scroller.addEventListener("scroll", () => this.look(), { passive: true });
    more.addEventListener("click", () => this.toEnd());
    const resized = new ResizeObserver(() => this.atEnd && this.toEnd());
    resized.observe(scroller);
  }

  /** Show rows; another `place` starts at its end. */
  show(place, rows) {
    if (place !== this.place) {
      this.place = place;
      this.atEnd = true;
      this.last = "";
      this.list.replaceChildren();
    }
    patchRows(this.list, rows);
    const last = rows.at(-1)?.key ?? "";
    if (this.atEnd) this.toEnd();
    else if (last > this.last) this.more.hidden = false;
    this.last = last;
  }

  toEnd() {
    this.atEnd = true;
    this.more.hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  look() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    this.atEnd = scrollHeight - clientHeight - scrollTop < NEAR;
    if (this.atEnd) this.more.hidden = true;
  }
}
