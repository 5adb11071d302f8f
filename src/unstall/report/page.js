// Adds to drawings that are complete without it: what happened at a moment, zooming and panning.
(() => {
  "use strict";
  const X0 = 128, WIDTH = 896, NS = "http://www.w3.org/2000/svg";
  const STEPS = [
    ...[-4, -3, -2, -1, 0].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** e)),
    10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
  ];

  const number = (n) => n.toLocaleString("en-US");
  const plural = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;

  // The same words as on the rest of the page: 38 ms, 6.41 s, 41.0 s, 2 min 10 s, 3 h 5 min.
  function seconds(s) {
    if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
    if (s < 9.995) return `${s.toFixed(2)} s`;
    if (s < 99.95) return `${s.toFixed(1)} s`;
    const whole = Math.round(s), minutes = Math.round(s / 60);
    if (whole < 3600) return `${Math.floor(whole / 60)} min` + (whole % 60 ? ` ${whole % 60} s` : "");
    return `${Math.floor(minutes / 60)} h` + (minutes % 60 ? ` ${minutes % 60} min` : "");
  }

  // A moment, as fine as the view: 12.34 s; 1 h 2 min 3 s.
  function clock(s, span) {
    const digits = span < 1 ? 3 : span < 120 ? 2 : span < 1200 ? 1 : 0;
    const hours = Math.floor(s / 3600), minutes = Math.floor((s % 3600) / 60);
    const rest = `${(s % 60).toFixed(digits)} s`;
    return (hours ? `${hours} h ` : "") + (hours || minutes ? `${minutes} min ` : "") + rest;
  }

  function tick(s, step) {
    if (step < 1) {
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      const rounded = +s.toFixed(digits);
      return rounded >= 1 || !rounded ? `${rounded} s` : `${+(s * 1000).toFixed(Math.max(0, digits - 3))} ms`;
    }
    const whole = Math.round(s);
    if (whole < 60 || (whole < 120 && step < 10)) return `${whole} s`;
    const parts = [[Math.floor(whole / 3600), "h"], [Math.floor((whole % 3600) / 60), "min"], [whole % 60, "s"]];
    return parts.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`).join(" ");
  }

  function element(name, attributes, parent) {
    const made = document.createElementNS(NS, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    parent?.append(made);
    return made;
  }

  // Every bar of a path as [start, end], in path units: "m12 3h40m-5 1h60".
  function bars(path) {
    const found = [];
    let x = 0;
    for (const [, move, length] of path.getAttribute("d").matchAll(/m(-?\d+) ?-?\d+h(\d+)/g)) {
      x += +move;
      found.push([x, x + +length]);
      x += +length;
    }
    return found;
  }

  function setUp(pan) {
    const svg = pan.querySelector("svg");
    const info = JSON.parse(svg.dataset.i);
    const end = info.end;
    const shortest = Math.max(info.unit * 20, end / 1e5);
    const stretched = [...svg.querySelectorAll("g.t")];
    const crosses = [...svg.querySelectorAll("path.cross")].map((path) => {
      const d = path.getAttribute("d");
      const marks = [...d.matchAll(/M([\d.]+) ([\d.]+)/g)].map(([, px, y]) => [((+px - X0) / WIDTH) * end, y]);
      return { path, marks, arm: +/m-([\d.]+)/.exec(d)[1] };
    });
    const labels = [...svg.querySelectorAll("text[data-a]")].map((text) => ({
      text, from: +text.dataset.a, to: +text.dataset.b, x: text.getAttribute("x"),
      hidden: text.getAttribute("visibility") || "visible", wide: text.textContent.length * 6.5,
    }));
    const summaries = [...svg.querySelectorAll("text.all")];
    const axis = svg.querySelector("g.axis");
    const whole = axis.innerHTML;
    const bottom = /V(\d+)/.exec(whole)[1];
    const arms = [...svg.querySelectorAll("g[clip-path]")];
    const flights = new Map();
    let from = 0, to = end, cursorAt = null, armShown = 0, down = null;

    const cursor = element("path", { class: "cursor", visibility: "hidden" }, svg);
    const drag = element("rect", { class: "drag", y: 0, height: bottom, visibility: "hidden" }, svg);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    const said = document.createElement("p");
    said.className = "aside";
    said.setAttribute("aria-live", "polite");
    const hint = document.createElement("p");
    hint.className = "hint";
    const all = document.createElement("button");
    all.type = "button";
    all.textContent = "See all";
    all.hidden = true;
    hint.append("Drag to zoom, double-click to see all. Keys: + and − zoom, arrows move.", all);
    pan.append(tip);
    pan.after(hint, said);
    pan.tabIndex = 0;
    pan.setAttribute("role", "group");
    pan.setAttribute("aria-label", "Timeline: plus and minus zoom, arrow keys move, Escape shows all");
    svg.classList.add("live");

    const x = (at) => X0 + (WIDTH * (at - from)) / (to - from);
    const timeAt = (px) => from + ((Math.min(Math.max(px, X0), X0 + WIDTH) - X0) / WIDTH) * (to - from);
    const zoomed = () => to - from < end * 0.9999;

    function point(event) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    function placeLabels() {
      for (const text of summaries) text.setAttribute("visibility", zoomed() ? "hidden" : "visible");
      const free = new Map();
      for (const label of labels) {
        let at = label.x, seen = label.hidden;
        if (zoomed() && label.text.classList.contains("in")) {
          at = Math.max(x(label.from), X0) + 6;
          seen = Math.min(x(label.to), X0 + WIDTH) - at > label.wide + 8 ? "visible" : "hidden";
        } else if (zoomed()) {
          at = Math.min(x(label.from), X0 + WIDTH - label.wide);
          const row = label.text.getAttribute("y");
          const fits = x(label.from) >= X0 - 1 && x(label.from) <= X0 + WIDTH && at >= (free.get(row) ?? X0 - 1);
          if (fits) free.set(row, at + label.wide + 12);
          seen = fits ? "visible" : "hidden";
        }
        label.text.setAttribute("x", at);
        label.text.setAttribute("visibility", seen);
      }
    }

    function placeAxis() {
      if (!zoomed()) {
        axis.innerHTML = whole;
        return;
      }
      const step = STEPS.find((one) => (to - from) / one <= 8) ?? 86400 * Math.ceil((to - from) / 8 / 86400);
      axis.replaceChildren();
      let lines = "";
      for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) {
        const at = x(i * step).toFixed(1);
        lines += `M${at} 8V${bottom}`;
        element("text", { x: at, y: +bottom + 17 }, axis).textContent = tick(i * step, step);
      }
      axis.prepend(element("path", { d: lines }));
    }

    function draw() {
      const k = (WIDTH * info.unit) / (to - from);
      const transform = `translate(${X0 - (from / info.unit) * k} 0) scale(${k} 1)`;
      for (const group of stretched) group.setAttribute("transform", transform);
      for (const { path, marks, arm } of crosses) {
        const seen = marks.filter(([at]) => at >= from && at <= to);
        // Crosses that had to be small for want of room grow when there is some.
        const a = zoomed() && arm < 2.4 ? Math.min(3.2, Math.max(arm, WIDTH / (2.5 * seen.length + 1))) : arm;
        const shape = `m-${a}-${a}l${2 * a} ${2 * a}m0-${2 * a}l-${2 * a} ${2 * a}`;
        path.setAttribute("d", (zoomed() ? seen : marks).map(([at, y]) => `M${x(at).toFixed(1)} ${y}${shape}`).join(""));
      }
      placeLabels();
      placeAxis();
      all.hidden = !zoomed();
    }

    function view(newFrom, newTo) {
      const span = Math.min(end, Math.max(shortest, newTo - newFrom));
      from = Math.min(Math.max(0, newFrom), end - span);
      to = from + span;
      draw();
      if (cursorAt !== null) look(Math.min(Math.max(cursorAt, from), to), armShown);
    }

    function flightOf(arm) {
      if (!flights.has(arm)) {
        const paths = [...arms[arm].querySelectorAll("path.req")];
        flights.set(arm, paths.map((path) => [path.classList[1], bars(path)]));
      }
      return flights.get(arm);
    }

    function facts(at, arm) {
      const unit = at / info.unit, known = info.arms[arm];
      const flying = { served: 0, waiting: 0, failed: 0 };
      for (const [status, list] of flightOf(arm)) {
        flying[status] = list.filter(([a, b]) => a <= unit && unit < b).length;
      }
      const lines = [
        plural(flying.served + flying.waiting + flying.failed, "request") + " in flight" +
          (flying.waiting ? `, ${number(flying.waiting)} waiting` : "") +
          (flying.failed ? `, ${number(flying.failed)} going to fail` : ""),
      ];
      const stall = known.stalls.find(([a, b]) => a <= at && at < b);
      if (stall) lines.push(`event loop blocked for ${seconds(stall[1] - stall[0])}`, known.where[stall[2]]);
      const phase = known.phases.find(([a, b]) => a <= at && at < b);
      if (phase && phase[2] !== "running") lines.push(`pod ${phase[2]}`);
      return [clock(at, to - from), ...lines];
    }

    // Moves the cursor to a time and says what happened then.
    function look(at, arm) {
      cursorAt = at;
      armShown = arm;
      const px = x(at), [top, low] = info.arms[arm].y;
      cursor.setAttribute("d", `M${px.toFixed(1)} ${top + 26}V${low - 8}`);
      cursor.setAttribute("visibility", "visible");
      const [time, ...lines] = facts(at, arm);
      const head = document.createElement("b");
      head.textContent = time;
      tip.replaceChildren(head, ...lines.flatMap((line, i) => (i ? [document.createElement("br"), line] : [line])));
      tip.hidden = false;
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      const left = px * scale + 14, room = pan.scrollLeft + pan.clientWidth;
      tip.style.left = `${left + tip.offsetWidth > room ? Math.max(0, px * scale - tip.offsetWidth - 14) : left}px`;
      // Beside the arm it speaks of, where there is room, so that it hides none of its lanes.
      const high = tip.offsetHeight, below = low * scale, above = top * scale - high;
      tip.style.top = `${below + high <= pan.clientHeight ? below : above >= 0 ? above : (top + 30) * scale}px`;
      return [time, ...lines].join(", ");
    }

    function leave() {
      cursorAt = null;
      cursor.setAttribute("visibility", "hidden");
      tip.hidden = true;
    }

    function armAt(y) {
      const at = info.arms.findIndex((arm) => y < arm.y[1]);
      return at < 0 ? info.arms.length - 1 : at;
    }

    svg.addEventListener("pointermove", (event) => {
      const [px, py] = point(event);
      if (down !== null) {
        const low = Math.max(X0, Math.min(down, px)), high = Math.min(X0 + WIDTH, Math.max(down, px));
        drag.setAttribute("x", low);
        drag.setAttribute("width", Math.max(0, high - low));
        drag.setAttribute("visibility", "visible");
      }
      if (px < X0 - 4 || px > X0 + WIDTH + 4) leave();
      else look(timeAt(px), armAt(py));
    });
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" || event.button) return;
      down = point(event)[0];
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", (event) => {
      const px = point(event)[0], began = down;
      down = null;
      drag.setAttribute("visibility", "hidden");
      if (began !== null && Math.abs(px - began) > 6) view(...[timeAt(began), timeAt(px)].sort((a, b) => a - b));
    });
    svg.addEventListener("pointercancel", () => {
      down = null;
      drag.setAttribute("visibility", "hidden");
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("dblclick", () => view(0, end));
    svg.addEventListener("selectstart", (event) => event.preventDefault());
    all.addEventListener("click", () => {
      view(0, end);
      pan.focus();
    });

    pan.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const span = to - from, middle = cursorAt ?? (from + to) / 2;
      const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (side && zoomed() && !event.shiftKey) {
        cursorAt = null;
        view(from + side * span * 0.15, to + side * span * 0.15);
        said.textContent = look((from + to) / 2, armShown);
      } else if (side) {
        said.textContent = look(Math.min(Math.max(from, middle + (side * span) / 100), to), armShown);
      } else if (event.key === "+" || event.key === "=") view(middle - span / 4, middle + span / 4);
      else if (event.key === "-") view(middle - span, middle + span);
      else if (event.key === "Escape" || event.key === "0") view(0, end);
      else return;
      event.preventDefault();
    });
    pan.addEventListener("blur", leave);
  }

  document.querySelectorAll(".pan").forEach(setUp);

  // What scrolls sideways must be reachable by keys; what does not must not be a stop on the way.
  function stops() {
    for (const box of document.querySelectorAll(".scroll, pre")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }
  for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", stops);
  addEventListener("resize", stops);
  stops();
})();
