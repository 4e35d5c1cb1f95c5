// The plain first page: a tile per stream, boxes drawn over the picture. The dashboard proper takes its place when
// it is built. No library, no inline script: it runs under the gateway's content security policy.

const PALETTE = ["#35c3a4", "#f2b441", "#6aa7ff", "#ff7d6b", "#c58bff", "#8fd14f", "#ff8fc8"];
const element = (id) => document.getElementById(id);
const tiles = new Map();
let events = null;

function colour(label) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(label)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return PALETTE[hash % PALETTE.length];
}

// 4 bytes big-endian length, JSON, JPEG.
function split(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const result = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  if (result.v !== 1) throw new Error(`result of version ${result.v}`);
  return { result, picture: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

class Tile {
  constructor(stream) {
    this.stream = stream;
    this.node = document.createElement("article");
    this.canvas = document.createElement("canvas");
    this.title = document.createElement("h2");
    this.note = document.createElement("p");
    this.node.append(this.canvas, this.title, this.note);
    this.title.textContent = stream.name;
    this.canvas.setAttribute("role", "img");
    this.delay = 500;
    this.pending = null;
    this.drawing = false;
    this.visible = false;
    this.observer = new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
      this.connect();
    });
    this.observer.observe(this.node);
  }

  update(stream) {
    this.stream = stream;
    const kind = [stream.type, stream.precision].filter(Boolean).join(" ");
    const rate = stream.state === "live" ? `${stream.fps.toFixed(1)} fps, ${Math.round(stream.latency_ms)} ms` : stream.state;
    this.note.textContent = `${kind} · ${rate}`;
    this.canvas.setAttribute("aria-label", `${stream.name}, ${kind}, ${stream.state}`);
  }

  connect() {
    const wanted = this.visible && !document.hidden;
    if (!wanted && this.socket) {
      this.socket.close();
    } else if (wanted && !this.socket && !this.timer) {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      const socket = new WebSocket(`${scheme}://${location.host}${this.stream.url}?format=frame`);
      socket.binaryType = "arraybuffer";
      socket.onmessage = (message) => {
        this.delay = 500;
        this.pending = message.data;
        this.draw();
      };
      socket.onclose = () => {
        this.socket = null;
        if (this.gone) return;
        this.timer = setTimeout(() => {
          this.timer = null;
          this.connect();
        }, this.delay * (0.5 + Math.random() / 2));
        this.delay = Math.min(this.delay * 2, 10000);
      };
      this.socket = socket;
    }
  }

  // One picture at a time; what comes meanwhile replaces what waits.
  async draw() {
    if (this.drawing) return;
    this.drawing = true;
    try {
      while (this.pending) {
        const { result, picture } = split(this.pending);
        this.pending = null;
        const bitmap = await createImageBitmap(picture);
        this.paint(bitmap, result);
        bitmap.close();
      }
    } catch {
      this.note.textContent = "a frame could not be read";
    } finally {
      this.drawing = false;
    }
  }

  paint(bitmap, result) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const unit = Math.max(1, bitmap.height / 360);
    context.lineWidth = 2 * unit;
    context.font = `${13 * unit}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    for (const { label, confidence, box } of result.detections.slice(0, 500)) {
      const [left, top, right, bottom] = box.map((edge) => Math.min(1, Math.max(0, edge)));
      const x = left * bitmap.width;
      const y = top * bitmap.height;
      context.strokeStyle = context.fillStyle = colour(label);
      context.strokeRect(x, y, (right - left) * bitmap.width, (bottom - top) * bitmap.height);
      const text = `${label.slice(0, 40)} ${confidence.toFixed(2)}`;
      const height = 17 * unit;
      const base = Math.max(y, height);
      context.fillRect(x - unit, base - height, context.measureText(text).width + 8 * unit, height);
      context.fillStyle = "#10151c";
      context.fillText(text, x + 3 * unit, base);
    }
  }

  close() {
    this.gone = true;
    this.observer.disconnect();
    clearTimeout(this.timer);
    this.socket?.close();
    this.node.remove();
  }
}

function showStreams({ streams }) {
  const grid = element("grid");
  const present = new Set(streams.map((stream) => stream.id));
  for (const [id, tile] of tiles) {
    if (!present.has(id)) {
      tile.close();
      tiles.delete(id);
    }
  }
  streams.forEach((stream, index) => {
    let tile = tiles.get(stream.id);
    if (!tile) {
      tile = new Tile(stream);
      tiles.set(stream.id, tile);
    }
    tile.update(stream);
    if (grid.children[index] !== tile.node) grid.insertBefore(tile.node, grid.children[index] ?? null);
  });
  element("empty").hidden = streams.length > 0;
}

function showStats({ totals }) {
  const dropped = totals.drop_fps > 0 ? `, ${totals.drop_fps.toFixed(1)} dropped` : "";
  element("totals").textContent =
    `${totals.streams} streams, ${totals.replicas} workers, ${totals.infer_fps.toFixed(1)} frames a second${dropped}`;
}

function showProblem(missing) {
  const text = Object.values(missing).join("; ");
  element("problem").textContent = text;
  element("problem").hidden = !text;
}

function listen() {
  events = new EventSource("/api/events");
  events.addEventListener("streams", (event) => {
    const document = JSON.parse(event.data);
    showStreams(document);
    showProblem(document.missing);
  });
  events.addEventListener("stats", (event) => showStats(JSON.parse(event.data)));
  events.addEventListener("problem", (event) => showProblem(JSON.parse(event.data).missing));
  events.onerror = () => {
    showProblem({ gateway: "The gateway does not answer: trying again." });
    if (events.readyState === EventSource.CLOSED) {
      events = null;
      setTimeout(begin, 2000);
    }
  };
  events.onopen = () => showProblem({});
}

function end() {
  events?.close();
  events = null;
  for (const tile of tiles.values()) tile.close();
  tiles.clear();
  element("totals").textContent = "";
  element("empty").hidden = true;
}

async function begin() {
  let session;
  try {
    session = await (await fetch("/api/session")).json();
  } catch {
    showProblem({ gateway: "The gateway does not answer: trying again." });
    setTimeout(begin, 2000);
    return;
  }
  showProblem({});
  element("login").hidden = session.logged_in;
  element("logout").hidden = !(session.login_required && session.logged_in);
  if (session.logged_in) listen();
  else element("token").focus();
}

element("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: element("token").value }),
  }).catch(() => null);
  const body = await answer?.json();
  element("login-error").textContent = answer?.ok ? "" : (body?.error.message ?? "The gateway does not answer.");
  if (answer?.ok) {
    element("token").value = "";
    begin();
  }
});

element("logout").addEventListener("click", async () => {
  end();
  await fetch("/api/logout", { method: "POST" }).catch(() => null);
  begin();
});

document.addEventListener("visibilitychange", () => tiles.forEach((tile) => tile.connect()));

element("commands").textContent = [
  `tools/run-css.sh -v 0 -q ${location.hostname} -p 31003 -t people`,
  `tools/run-fss.sh -v clip.mp4 -q ${location.hostname} -p 31003 -t face-int8`,
].join("\n");
begin();
