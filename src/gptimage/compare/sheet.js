"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const show = document.getElementById("show");
show.addEventListener("click", () => {
  const open = document.body.classList.toggle("open");
  show.setAttribute("aria-pressed", String(open));
});
const status = document.getElementById("status");
const winner = (number) => {
  const chosen = document.querySelector(`input[name="p${number}"]:checked`);
  return chosen && chosen.value !== "" ? Number(chosen.value) : null;
};
const count = () => {
  const done = document.querySelectorAll("input:checked").length;
  status.textContent = `${done} of ${data.prompts.length} prompts decided`;
};
document.addEventListener("change", count);
count();
document.getElementById("export").addEventListener("click", () => {
  const votes = data.prompts.map((prompt, number) => ({...prompt, winner: winner(number)}));
  const file = {format: data.format, title: data.title, voted: new Date().toISOString(), votes};
  const link = document.createElement("a");
  const kind = {type: "application/json"};
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], kind));
  link.download = "votes.json";
  link.click();
  URL.revokeObjectURL(link.href);
  const won = votes.filter((vote) => vote.winner !== null).length;
  status.textContent = `votes.json has winners of ${won} of ${votes.length} prompts`;
});
