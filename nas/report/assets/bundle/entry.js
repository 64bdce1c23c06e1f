// What report.html uses of Observable Plot; build.py bundles it.
export {dot, frame, line, plot, rect, ruleX, ruleY, text} from "@observablehq/plot";
