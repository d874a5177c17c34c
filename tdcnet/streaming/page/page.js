"use strict";
const $ = (id) => document.getElementById(id);
let known = 0, dragging = false;

function figures(told) {
  $("lost").hidden = true;
  $("source").textContent = told.source;
  document.title = `${told.tracks} tracks – ${told.source}`;
  $("dot").className = `dot ${told.state}`;
  const words = {running: "running", waiting: "waiting for the first frame", lost: "lost; it is tried again", ended: "ended"};
  $("state").textContent = words[told.state] + (told.restored ? `, came back ${told.restored} times` : "");
  $("rate").textContent = told.rate.toFixed(1);
  $("latency").textContent = told.latency[0] === null ? "–" : `${Math.round(told.latency[0])} / ${Math.round(told.latency[2])}`;
  $("latency").title = "half of the frames, 99 of 100";
  $("tracks").textContent = told.tracks;
  $("dropped").textContent = told.dropped;
  $("count").textContent = told.alarms ? `(${told.alarms})` : "";
  if (!dragging) { $("least").value = told.least; $("shown").textContent = told.least.toFixed(2); }
  $("upload").hidden = !told.upload;
  if (told.alarms < known) { known = 0; $("alarms").textContent = ""; }  // it was started anew
  if (told.alarms > known) alarms();
}

async function alarms() {
  const answer = await fetch(`alarms?known=${known}`);
  if (!answer.ok) return;
  const list = $("alarms");
  for (const alarm of (await answer.json()).reverse()) {
    if (alarm.alarm <= known) continue;
    known = alarm.alarm;
    list.querySelector(".none")?.remove();
    const item = document.createElement("li");
    const picture = document.createElement("img");
    picture.src = `data:image/jpeg;base64,${alarm.picture}`;
    picture.alt = "the frame of the alarm";
    const text = document.createElement("div"), rule = document.createElement("strong"), when = document.createElement("small");
    rule.textContent = `${alarm.rule}: ${alarm.label} ${alarm.id}`;
    when.textContent = `${new Date(alarm.at * 1000).toLocaleString()}, score ${alarm.score.toFixed(2)}`;
    text.append(rule, when);
    item.append(picture, text);
    list.prepend(item);
    while (list.children.length > 50) list.lastChild.remove();
  }
}

const events = new EventSource("events");
events.onmessage = (event) => figures(JSON.parse(event.data));
events.onerror = () => { $("lost").hidden = false; $("dot").className = "dot lost"; };
$("video").onerror = () => setTimeout(() => { $("video").src = `video?${Date.now()}`; }, 3000);

$("least").oninput = () => { dragging = true; $("shown").textContent = Number($("least").value).toFixed(2); };
$("least").onchange = async () => {
  await fetch("least", {method: "POST", headers: {"X-TDCNet": "1"}, body: JSON.stringify({least: Number($("least").value)})});
  dragging = false;
};

async function trial() {
  const told = await (await fetch("trial")).json();
  const box = $("trial");
  box.textContent = "";
  if (told.state === "off") { box.textContent = "not allowed here"; return; }
  if (told.state === "running" || told.state === "taking") {
    box.textContent = `${told.frames} frames, ${told.tracks} tracks`;
    setTimeout(trial, 700);
    return;
  }
  $("try").disabled = false;
  if (told.state === "failed") box.textContent = told.why;
  if (told.state === "done") {
    const link = document.createElement("a");
    link.href = `trial/video?${Date.now()}`;
    link.target = "_blank";
    link.textContent = `${told.frames} frames, ${told.tracks} tracks: see the video`;
    box.append(link, ` ${told.why}`);
  }
}
$("try").onclick = async () => {
  const file = $("file").files[0];
  if (!file) { $("trial").textContent = "choose a file first"; return; }
  $("try").disabled = true;
  $("trial").textContent = "sending";
  const answer = await fetch("trial", {method: "POST", headers: {"X-TDCNet": "1"}, body: file});
  if (!answer.ok) { $("trial").textContent = await answer.text(); $("try").disabled = false; return; }
  trial();
};
