// What the notes of the example workflows say alike, and the colours of their groups.

/** A note: what the graph does, what it costs, how to try it and how to make it one's own. */
export function note({ box, title, does, cost, own }) {
  const lines = [
    does,
    'No account? Click the badge on a MAI node.',
    `Cost: about ${cost} a run; the same run again is free.`,
    `Yours: ${own}`,
  ];
  // A heading, because the canvas's plain text is too small at the zoom at which a template opens.
  return { box, title, text: `## ${lines.join('<br>')}` };
}

export const GREEN = '#8a8';
export const BLUE = '#3f789e';
export const BROWN = '#b58b2a';
