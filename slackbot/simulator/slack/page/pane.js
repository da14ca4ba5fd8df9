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
    this.top = 0;
    scroller.addEventListener("scroll", () => this.look(), { passive: true });
    more.addEventListener("click", () => this.toEnd());
    const resized = new ResizeObserver(() => this.atEnd && this.toEnd());
    resized.observe(scroller);
    resized.observe(list); // a picture grows when it has loaded
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
    this.top = this.scroller.scrollTop;
  }

  look() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const near = scrollHeight - clientHeight - scrollTop < NEAR;
    // The end also moves away by itself, when something above it grows: only scrolling up leaves it.
    this.atEnd = near || (this.atEnd && scrollTop >= this.top);
    this.top = scrollTop;
    if (this.atEnd) this.more.hidden = true;
  }
}
