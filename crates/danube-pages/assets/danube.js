// Everything works without this; with it pages follow what happens.
import { charts, every } from "./chart.js";
import { copies, finds } from "./list.js";
import { follow, look, on } from "./live.js";
import { log } from "./log.js";
import { times } from "./times.js";
import { trace } from "./trace.js";

times();
trace();
log();
// The end of the log on a job's page is a part like the others.
if (document.getElementById("job-log")) on("log", look);
follow();
charts();
every();
copies();
finds();
