// Everything works without this; with it pages follow what happens.
import { charts, every } from "./chart.js";
import { copies, finds } from "./list.js";
import { follow } from "./live.js";
import { log } from "./log.js";
import { times } from "./times.js";
import { trace } from "./trace.js";

times();
trace();
log();
follow();
charts();
every();
copies();
finds();
