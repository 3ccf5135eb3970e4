// Drawing, at most once per animation frame. A change names a topic; whoever draws that topic is put down once and runs in the next
// frame. Nothing runs while nothing changes, and nothing is drawn while the page is hidden.

const drawersByTopic = new Map();
const waiting = new Set();
let requested = false;

/** Call `draw` in the frame after any of the topics changed. */
export function drawOn(topics, draw) {
  for (const topic of topics) {
    if (!drawersByTopic.has(topic)) drawersByTopic.set(topic, new Set());
    drawersByTopic.get(topic).add(draw);
  }
}

export function changed(...topics) {
  for (const topic of topics) {
    for (const draw of drawersByTopic.get(topic) ?? []) waiting.add(draw);
  }
  request();
}

export function redraw(draw) {
  waiting.add(draw);
  request();
}

function request() {
  if (requested || waiting.size === 0) return;
  requested = true;
  requestAnimationFrame(run);
}

function run() {
  requested = false;
  const now = [...waiting];
  waiting.clear();
  for (const draw of now) draw();
}
