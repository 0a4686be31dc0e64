// A part of a node that is drawn by the browser: as high as what is in it, and never saved.

const MARGIN = 8;

/** A place for an element on a node; the node is made higher for it, and lower when it is gone. */
export class Room {
  /**
   * @param {string} name of the widget that holds the place
   * @param {HTMLElement} body
   * @param {number} guess its height in pixels before the browser has laid it out
   */
  constructor(node, name, body, guess) {
    this.node = node;
    this.name = name;
    this.body = body;
    this.guess = guess;
    // The page sets the height of the outer element; the inner one keeps its natural height.
    this.frame = document.createElement('div');
    this.frame.className = 'mai-room';
    this.frame.append(body);
    this.observer = new ResizeObserver(() => this.fit());
    this.widget = null;
    this.before = 0;
    this.tall = 0;
  }

  open() {
    if (this.widget) return;
    this.widget = this.node.addDOMWidget(this.name, this.name, this.frame, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: () => this.height(),
      getMaxHeight: () => this.height(),
    });
    // Not in a workflow either: what is saved is the same as without this pack's scripts.
    this.widget.serialize = false;
    this.observer.observe(this.body);
    this.fit();
  }

  close() {
    if (!this.widget) return;
    this.observer.disconnect();
    this.node.removeWidget(this.widget);
    this.widget = null;
    this.fit();
  }

  /** Pixels of the canvas that the widget takes, its margins included. */
  height() {
    return (this.body.offsetHeight || this.guess) + 2 * MARGIN;
  }

  /** As high as before there was this room, or as somebody has made the node, or as it must be. */
  fit() {
    const { size } = this.node;
    if (size[1] !== this.tall) this.before = size[1];
    this.node.setSize([size[0], Math.max(this.before, this.node.computeSize()[1])]);
    this.tall = this.node.size[1];
    this.node.setDirtyCanvas(true, true);
  }
}
