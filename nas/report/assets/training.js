// What the page of one training draws.
const {charts} = JSON.parse(document.getElementById("data").textContent);
charts.forEach((chart, i) => keepDrawn(`curves-${i}`, (target) => drawCurves(target, chart)));
drawPage();
