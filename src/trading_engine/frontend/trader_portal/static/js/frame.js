// Drawing, at most once per animation frame. A change names a topic; whoever draws that topic is put down once and runs in the next
// frame. Nothing runs while nothing changes, and nothing is drawn while the page is hidden. What one interval of the venue brings comes
// as several messages over a few milliseconds: a short pause between two drawings lets them share one.

const drawersByTopic = new Map();
const waiting = new Set();
let requested = false;
let drawnAt = 0;

const PAUSE_MILLISECONDS = 40;

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
  const pause = drawnAt + PAUSE_MILLISECONDS - performance.now();
  if (pause > 0) setTimeout(() => requestAnimationFrame(run), pause);
  else requestAnimationFrame(run);
}

function run() {
  requested = false;
  drawnAt = performance.now();
  const now = [...waiting];
  waiting.clear();
  for (const draw of now) draw();
}
