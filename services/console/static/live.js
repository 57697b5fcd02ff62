// Pages that show events as they come: a chart of the last minute, or the newest events of a topic. What is kept has a
// bound, so that a page that is open for long stays as large as it was. While it is hidden or paused, nothing is asked.
"use strict";

(() => {
  const AGAIN_MS = 10_000; // after the edge has refused the stream
  const language = document.documentElement.lang;
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  const streams = [];

  // A stream of events that is open while its part of the page is there, is seen and is not paused.
  class Stream {
    constructor(root, take) {
      this.root = root;
      this.take = take;
      this.url = root.dataset.live;
      this.source = null;
      this.timer = 0;
      this.paused = false;
      this.state = root.querySelector("[data-state]");
      const button = root.querySelector("[data-pause]");
      button.addEventListener("click", () => {
        this.paused = !this.paused;
        root.toggleAttribute("data-halted", this.paused);
        button.textContent = this.paused ? button.dataset.paused : button.dataset.running;
        this.match();
      });
      this.match();
    }

    match() {
      const wanted = this.root.isConnected && !this.paused && !document.hidden;
      if (wanted && !this.source) {
        this.open();
      } else if (!wanted && this.source) {
        this.close();
      }
      if (this.paused) {
        this.say("halted");
      }
    }

    open() {
      this.say("connecting");
      this.source = new EventSource(this.url);
      this.url = this.root.dataset.later || this.url; // what came while it was hidden is not caught up with
      this.source.onopen = () => this.say("live");
      this.source.onmessage = (message) => {
        if (this.root.isConnected) {
          this.take(JSON.parse(message.data));
        } else {
          this.match();
        }
      };
      this.source.onerror = () => {
        if (this.source?.readyState === EventSource.CLOSED) {
          this.close();
          this.say("failed");
          this.timer = setTimeout(() => this.match(), AGAIN_MS);
        } else {
          this.say("connecting");
        }
      };
    }

    close() {
      clearTimeout(this.timer);
      this.source?.close();
      this.source = null;
    }

    say(state) {
      const text = this.state.getAttribute(`data-say-${state}`);
      if (this.state.textContent !== text) {
        this.state.textContent = text;
      }
    }
  }

  // The chart of events a second, as charts.py draws it.
  function rates(root) {
    const SECONDS = 60;
    const [WIDTH, HEIGHT] = [600, 160];
    const TYPES = 12;
    const lines = [...root.querySelectorAll("[data-line]")];
    const sums = new Map([...root.querySelectorAll("[data-sum]")].map((each) => [each.dataset.sum, each]));
    const [top, half] = ["[data-top]", "[data-half]"].map((name) => root.querySelector(name));
    const body = root.querySelector("[data-types]");
    const template = root.querySelector("[data-type]");
    const none = root.querySelector("[data-none]");
    const ticks = [];
    if (!lines.length) {
      return () => {};
    }

    function scale(most) {
      for (let size = 1; size < 1e8; size *= 10) {
        for (const digit of size === 1 ? [4] : [1, 2, 5]) {
          if (size * digit >= most) {
            return size * digit;
          }
        }
      }
      return most;
    }

    function draw() {
      const total = (events) => Object.values(events ?? {}).reduce((sum, count) => sum + count, 0);
      const numbers = new Map(lines.map((line) => [line, ticks.map((tick) => total(tick.events[line.dataset.line]))]));
      const most = scale(Math.max(0, ...[...numbers.values()].flat()));
      for (const [line, counts] of numbers) {
        const first = SECONDS - counts.length;
        const point = (count, place) =>
          `${(((first + place) * WIDTH) / (SECONDS - 1)).toFixed(1)},${(HEIGHT - (count * HEIGHT) / most).toFixed(1)}`;
        line.setAttribute("points", counts.map(point).join(" "));
        sums.get(line.dataset.line).textContent = number.format(counts.reduce((sum, count) => sum + count, 0));
      }
      top.textContent = number.format(most);
      half.textContent = number.format(most / 2);
      list();
    }

    function list() {
      const counts = new Map();
      for (const tick of ticks) {
        for (const [service, types] of Object.entries(tick.events)) {
          for (const [type, count] of Object.entries(types)) {
            const key = `${type} ${service}`;
            counts.set(key, (counts.get(key) ?? 0) + count);
          }
        }
      }
      const listed = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, TYPES);
      while (body.rows.length > listed.length) {
        body.deleteRow(-1);
      }
      while (body.rows.length < listed.length) {
        body.append(template.content.firstElementChild.cloneNode(true));
      }
      listed.forEach(([key, count], place) => {
        const texts = [...key.split(" "), number.format(count / SECONDS), number.format(count)];
        [...body.rows[place].cells].forEach((cell, column) => {
          if (cell.textContent !== texts[column]) {
            cell.textContent = texts[column];
          }
        });
      });
      none.hidden = listed.length > 0;
    }

    let drawing = 0;
    return (tick) => {
      if (ticks.length && tick.at <= ticks.at(-1).at) {
        return; // a stream that began again tells the last minute again
      }
      if (ticks.length && tick.at - ticks.at(-1).at > SECONDS) {
        ticks.length = 0;
      }
      ticks.push(tick);
      ticks.splice(0, ticks.length - SECONDS);
      drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        draw();
      });
    };
  }

  // The newest events of a topic, the last one first.
  function samples(root) {
    const KEPT = 20;
    const SHOW_MS = 500;
    const list = root.querySelector("[data-list]");
    const template = root.querySelector("[data-sample]");
    const none = root.querySelector("[data-none]");
    const moment = new Intl.DateTimeFormat(language, {
      dateStyle: "medium",
      timeStyle: "medium",
      timeZone: root.dataset.zone,
    });
    let waiting = [];
    let timer = 0;

    function show() {
      timer = 0;
      const [events, rows] = [waiting, []];
      waiting = [];
      for (const event of events.reverse()) {
        const row = template.content.firstElementChild.cloneNode(true); // Chromium keeps a fragment that was emptied
        const put = (name, text) => {
          row.querySelector(`[data-${name}]`).textContent = text;
        };
        put("type", event.type.split(".").at(-1));
        put("time", moment.format(new Date(event.time)));
        put("stream", `${event.subject ?? ""}`);
        put("body", JSON.stringify(event, null, 2));
        const why = row.querySelector("[data-why]");
        if (why) {
          why.href = `/operator/events/${encodeURIComponent(event.id)}`;
        }
        rows.push(row);
      }
      list.prepend(...rows);
      while (list.children.length > KEPT) {
        list.lastElementChild.remove();
      }
      none.hidden = list.children.length > 0;
    }

    return (event) => {
      if (!event.type) {
        return; // a reset: the events before are not kept
      }
      waiting.push(event);
      waiting.splice(0, waiting.length - KEPT);
      timer ||= setTimeout(show, SHOW_MS);
    };
  }

  function start() {
    for (const stream of streams.splice(0)) {
      if (stream.root.isConnected) {
        streams.push(stream);
      } else {
        stream.close();
      }
    }
    for (const root of document.querySelectorAll("[data-live]:not([data-started])")) {
      root.dataset.started = "";
      streams.push(new Stream(root, root.matches("[data-zone]") ? samples(root) : rates(root)));
    }
  }

  document.addEventListener("visibilitychange", () => streams.forEach((stream) => stream.match()));
  document.addEventListener("htmx:afterSwap", start);
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.target.closest("[data-while-visible]");
    if (part && event.target === part && (document.hidden || part.closest("[data-halted]"))) {
      event.preventDefault();
    }
  });
  start();
})();
