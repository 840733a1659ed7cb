// Fetches the moving part again every second and puts in what changed; sends the buttons' posts.
"use strict";
(() => {
  const notice = document.getElementById("notice");
  const stale = document.getElementById("stale");
  const seen = new Map();

  const keep = (section) => seen.set(section.id, section.outerHTML);
  for (const section of document.querySelectorAll("[id^='s-']")) keep(section);

  // A section is replaced only when it differs, so that a selection or a focused button elsewhere stays.
  const show = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    for (const section of [...fresh.children]) {
      const held = document.getElementById(section.id);
      if (!held || seen.get(section.id) === section.outerHTML) continue;
      keep(section);
      const active = held.contains(document.activeElement) ? document.activeElement.dataset.post : null;
      const scrolled = held.querySelector(".scroll")?.scrollLeft;
      held.replaceWith(section);
      if (active) [...section.querySelectorAll("[data-post]")].find((b) => b.dataset.post === active)?.focus();
      if (scrolled) section.querySelector(".scroll").scrollLeft = scrolled;
    }
  };

  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch("/page/live", { signal: AbortSignal.timeout(5000) });
        if (answer.status === 401) return location.assign("/login");
        if (!answer.ok) throw new Error(answer.statusText);
        show(await answer.text());
        stale.hidden = true;
      } catch {
        stale.hidden = false;
      }
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 1000);

  const tell = (text, bad) => {
    notice.textContent = text;
    notice.className = bad ? "bad" : "";
    notice.hidden = false;
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => (notice.hidden = true), 8000);
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-post]");
    if (!button || (button.dataset.sure && !confirm(button.dataset.sure))) return;
    button.disabled = true;
    try {
      const answer = await fetch(button.dataset.post, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ reason: "by the page" }),
      });
      if (answer.status === 401) return location.assign("/login");
      const said = await answer.json();
      tell(answer.ok ? `${button.textContent}: ${Object.entries(said).slice(0, 2).map(([k, v]) => `${k} ${v}`).join(", ")}` : `${said.detail} ${said.help ?? ""}`, !answer.ok);
    } catch (error) {
      tell(String(error), true);
    } finally {
      button.disabled = false;
    }
  });
})();
